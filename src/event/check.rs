//! Checks an event's JSON in one pass.
//!
//! No tree is built: an event is passed on unchanged, so only its `type` is needed, and that all
//! readers interpret it alike.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::excerpt::{self, excerpt};

/// Deepest nesting of arrays and objects that an event may have.
///
/// Browsers parse on the main thread and consumers recurse; channels messages are flat maps.
pub(super) const MAX_DEPTH: usize = 32;

/// Longest `type`, bytes. It names a handler, labels log lines and is looked up by routes.
pub(super) const MAX_KIND: usize = 128;

/// Why bytes are not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Not UTF-8.
    #[error("event is not UTF-8: byte {0} begins no character")]
    NotUtf8(usize),
    /// Not an object, or empty.
    #[error("event begins with {0:?}; a JSON object such as {{\"type\":\"notice\"}} is required")]
    NotObject(String),
    /// Not JSON.
    #[error("event is not JSON: {0}")]
    Json(String),
    /// Nested deeper than [`Event::MAX_DEPTH`](super::Event::MAX_DEPTH).
    #[error("event is nested deeper than {max} arrays and objects", max = MAX_DEPTH)]
    TooDeep,
    /// An object with a repeated key: some readers use the first, some the last.
    #[error("event has key {0:?} twice in one object; every key may stand once")]
    DuplicateKey(String),
    /// No `type`.
    #[error("event has no \"type\"; a string of 1 to {max} bytes is required", max = MAX_KIND)]
    NoType,
    /// A `type` that is not a string, or is empty or too long.
    #[error("event has type {0}; a string of 1 to {max} bytes is required", max = MAX_KIND)]
    BadType(String),
    /// A `type` that the client library gives to events of the membership itself: a sender could
    /// otherwise fake a loss or a removal.
    #[error(
        "event has type {0:?}; types that begin with \"$\", and \"*\", are the client library's own"
    )]
    ReservedType(String),
}

/// Checks `json`. Returns the range of the object without surrounding white space, and its `type`.
pub(super) fn check(json: &[u8]) -> Result<(Range<usize>, Arc<str>), EventError> {
    let text = std::str::from_utf8(json).map_err(|e| EventError::NotUtf8(e.valid_up_to()))?;
    let object = text.trim_matches(WHITE_SPACE);
    if !object.starts_with('{') {
        return Err(EventError::NotObject(excerpt(object, excerpt::VALUE)));
    }
    let mut findings = Findings::default();
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let read = ValueReader { findings: &mut findings, depth: 0 }.deserialize(&mut deserializer);
    let read = read.and_then(|()| deserializer.end());
    match (read, findings.fault) {
        (Err(_), Some(fault)) => Err(fault),
        (Err(e), None) => Err(EventError::Json(e.to_string())),
        (Ok(()), _) => {
            let start = object.as_ptr().addr() - text.as_ptr().addr();
            let kind = findings.kind.ok_or(EventError::NoType)?;
            if kind.starts_with('$') || *kind == *"*" {
                return Err(EventError::ReservedType(excerpt(&kind, excerpt::VALUE)));
            }
            Ok((start..start + object.len(), kind))
        }
    }
}

/// White space of JSON (RFC 8259 section 2), without that of Unicode.
const WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The state of the pass.
#[derive(Default)]
struct Findings<'de> {
    /// The keys of the objects that are open, outermost first. One list for all of them, so that
    /// nesting costs no allocation.
    keys: Vec<Cow<'de, str>>,
    kind: Option<Arc<str>>,
    /// The cause of an error, since serde can only carry text.
    fault: Option<EventError>,
}

/// A value to be read.
struct ValueReader<'f, 'de> {
    findings: &'f mut Findings<'de>,
    /// Arrays and objects around it.
    depth: usize,
}

impl<'de> ValueReader<'_, 'de> {
    fn fail<E: Error>(self, fault: EventError) -> E {
        self.findings.fault = Some(fault);
        E::custom("fault")
    }

    fn child(&mut self) -> ValueReader<'_, 'de> {
        ValueReader { findings: self.findings, depth: self.depth + 1 }
    }
}

impl<'de> DeserializeSeed<'de> for ValueReader<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueReader<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        if self.depth == MAX_DEPTH {
            return Err(self.fail(EventError::TooDeep));
        }
        while seq.next_element_seed(self.child())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        if self.depth == MAX_DEPTH {
            return Err(self.fail(EventError::TooDeep));
        }
        let first = self.findings.keys.len();
        while let Some(ObjectKey(key)) = map.next_key()? {
            if self.depth == 0 && key == "type" {
                let value: &RawValue = map.next_value()?;
                match kind_of(value) {
                    Ok(kind) => self.findings.kind = Some(kind),
                    Err(fault) => return Err(self.fail(fault)),
                }
            } else {
                map.next_value_seed(self.child())?;
            }
            self.findings.keys.push(key);
        }
        if let Some(key) = duplicate(&mut self.findings.keys[first..]) {
            return Err(self.fail(EventError::DuplicateKey(key)));
        }
        self.findings.keys.truncate(first);
        Ok(())
    }
}

/// serde borrows a `Cow` only with the attribute on the field.
#[derive(serde::Deserialize)]
struct ObjectKey<'a>(#[serde(borrow)] Cow<'a, str>);

fn kind_of(value: &RawValue) -> Result<Arc<str>, EventError> {
    let bad = || EventError::BadType(excerpt(value.get(), excerpt::VALUE));
    let ObjectKey(kind) = serde_json::from_str(value.get()).map_err(|_| bad())?;
    if kind.is_empty() || kind.len() > MAX_KIND {
        return Err(bad());
    }
    Ok(kind.into())
}

/// A key that occurs twice in `keys`, whose order is lost.
///
/// Sorting keeps an object of thousands of keys, which 64 KiB can hold, from costing their square;
/// the few that an event has are compared pair by pair.
fn duplicate(keys: &mut [Cow<'_, str>]) -> Option<String> {
    let twice = if keys.len() > 8 {
        keys.sort_unstable();
        keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| &pair[0])
    } else {
        keys.iter().enumerate().find(|(i, key)| keys[..*i].contains(key)).map(|(_, key)| key)
    };
    twice.map(|key| excerpt(key, excerpt::VALUE))
}
