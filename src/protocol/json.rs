//! Parses single JSON values of clients, and quotes them in messages.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Parses a JSON object. serde alone would also fill a struct from an array.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    if json.trim_ascii_start().starts_with('{') { serde_json::from_str(json).ok() } else { None }
}

/// A JSON string, borrowed if it has no escapes: serde borrows a `Cow` only with the attribute on
/// the field.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// `raw` as a string, if it is one.
pub(super) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw.get()).ok().map(|Text(text)| text)
}

/// The beginning of a value, on one line, for a message: frames may be large, and messages are
/// logged.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
