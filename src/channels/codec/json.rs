//! Messages as JSON, as Python's `json.dumps` writes it and `json.loads` reads it.
//!
//! Both ways are one pass over tokens: numbers stay unchanged and keys keep their order.
//! [`Event::parse`] checks later that the result is JSON.

use std::io::Write;

use super::CodecError;
use super::channel::{CHANNELS_KEY, MessageChannels};
use crate::event::Event;
use crate::excerpt::{self, excerpt};

/// The compact JSON of `message` without its channels, and those.
pub(super) fn read(message: &[u8]) -> Result<(Vec<u8>, Vec<String>), CodecError> {
    // The headers of msgpack's maps.
    if let Some(0x80..=0x8f | 0xde | 0xdf) = message.first() {
        return Err(CodecError::Serializer { found: "msgpack", set: "json" });
    }
    let mut pass = Pass::new(&COMPACT, Vec::with_capacity(message.len()));
    pass.run(message)?;
    let channels = pass.channels.map(|value| names(&value)).transpose()?;
    Ok((pass.out, channels.unwrap_or_default()))
}

/// The channels whose key ends where `rest` begins.
pub(super) fn read_channels(rest: &[u8]) -> Result<Vec<String>, CodecError> {
    let truncated = CodecError::Truncated { what: "a key", at: 0 };
    let value = rest.strip_prefix(b"\"").ok_or_else(|| truncated.clone())?.trim_ascii_start();
    let value = value.strip_prefix(b":").ok_or_else(|| truncated.clone())?;
    let mut values = serde_json::Deserializer::from_slice(value).into_iter::<ChannelsValue>();
    match values.next() {
        Some(Ok(ChannelsValue::Many(names))) => Ok(names),
        Some(Ok(ChannelsValue::One(name))) => Ok(vec![name]),
        _ => Err(truncated),
    }
}

/// Channels as Python writes them.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum ChannelsValue {
    One(String),
    Many(Vec<String>),
}

/// `event` and `channel` as one object, behind `prefix`.
pub(super) fn write(event: &Event, channel: MessageChannels<'_>, prefix: &[u8]) -> Vec<u8> {
    let json = event.json();
    let mut out = Vec::with_capacity(prefix.len() + json.len() + json.len() / 4 + 64);
    out.extend_from_slice(prefix);
    let mut pass = Pass::new(&PYTHON, out);
    pass.run(json).expect("an event is checked JSON");
    let mut out = pass.out;
    let names = match channel {
        MessageChannels::None => return out,
        MessageChannels::One(name) => serde_json::to_vec(name),
        MessageChannels::Many(names) => serde_json::to_vec(names),
    };
    let names = names.expect("memory takes every string");
    out.pop();
    out.extend_from_slice(b", \"");
    out.extend_from_slice(CHANNELS_KEY.as_bytes());
    out.extend_from_slice(b"\": ");
    let mut pass = Pass::new(&PYTHON, out);
    pass.run(&names).expect("serde_json writes JSON");
    pass.out.push(b'}');
    pass.out
}

/// How tokens are written.
struct Style {
    comma: &'static [u8],
    colon: &'static [u8],
    /// Takes a string with its quotes.
    string: fn(&mut Vec<u8>, &[u8]),
}

/// No byte too many; strings as they came.
const COMPACT: Style =
    Style { comma: b",", colon: b":", string: |out, text| out.extend_from_slice(text) };

/// The defaults of `json.dumps`.
const PYTHON: Style = Style { comma: b", ", colon: b": ", string: push_ascii };

/// Tokens on their way to `out`, the outermost object's channels taken out.
///
/// Invalid JSON stays invalid in `out`.
struct Pass {
    style: &'static Style,
    out: Vec<u8>,
    /// Arrays and objects that are open. Whether they close as they opened is not looked at here.
    depth: usize,
    last: Last,
    /// While the channels are read: where `out` had ended, and in what.
    cut: Option<(usize, Last)>,
    /// The channels as written after their key: a colon and a value.
    channels: Option<Vec<u8>>,
}

/// The last token, as far as the next depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Open,
    Comma,
    /// A number or a word, which must not grow together with the next.
    Bare,
    Other,
}

impl Pass {
    fn new(style: &'static Style, out: Vec<u8>) -> Self {
        Self { style, out, depth: 0, last: Last::Other, cut: None, channels: None }
    }

    fn run(&mut self, text: &[u8]) -> Result<(), CodecError> {
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            at += match byte {
                b' ' | b'\t' | b'\n' | b'\r' => 1,
                b'"' => self.string(&text[at..], at)?,
                b'{' | b'[' | b'}' | b']' | b',' | b':' => self.mark(byte),
                _ => self.bare(&text[at..]),
            };
        }
        Ok(())
    }

    /// The string that `text` begins with, and its length. `at`: its position.
    fn string(&mut self, text: &[u8], at: usize) -> Result<usize, CodecError> {
        let len = string_len(text).ok_or(CodecError::Truncated { what: "a string", at })?;
        let string = &text[..len];
        let is_key = self.depth == 1 && matches!(self.last, Last::Open | Last::Comma);
        if is_key && names_channels(string) {
            if self.channels.is_some() {
                return Err(CodecError::ChannelsTwice);
            }
            self.cut = Some((self.out.len(), self.last));
        } else {
            (self.style.string)(&mut self.out, string);
        }
        self.last = Last::Other;
        Ok(len)
    }

    /// A bracket, comma or colon; gives its length.
    fn mark(&mut self, mark: u8) -> usize {
        if self.depth == 1 && matches!(mark, b',' | b'}' | b']') && self.cut.is_some() {
            self.take_out_channels(mark);
            if mark == b',' {
                // The comma before the channels, if any, serves what follows them.
                return 1;
            }
        }
        match mark {
            b',' => self.out.extend_from_slice(self.style.comma),
            b':' => self.out.extend_from_slice(self.style.colon),
            bracket => self.out.push(bracket),
        }
        (self.last, self.depth) = match mark {
            b'{' | b'[' => (Last::Open, self.depth + 1),
            b'}' | b']' => (Last::Other, self.depth.saturating_sub(1)),
            b',' => (Last::Comma, self.depth),
            _ => (Last::Other, self.depth),
        };
        1
    }

    /// Cuts the channels off `out`, and the comma before them if `mark` closes the object.
    fn take_out_channels(&mut self, mark: u8) {
        let Some((end, before)) = self.cut.take() else { return };
        self.channels = Some(self.out.split_off(end));
        self.last = before;
        if mark != b',' && before == Last::Comma {
            self.out.truncate(end - self.style.comma.len());
        }
    }

    /// The number or word that `text` begins with; gives its length.
    fn bare(&mut self, text: &[u8]) -> usize {
        let ends = |byte: &u8| b" \t\n\r\"{}[],:".contains(byte);
        let len = text.iter().position(ends).unwrap_or(text.len());
        if self.last == Last::Bare {
            self.out.push(b' ');
        }
        // Python's names for floats that are no number; JSON has none.
        let token = match &text[..len] {
            b"NaN" | b"Infinity" | b"-Infinity" => b"null",
            other => other,
        };
        self.out.extend_from_slice(token);
        self.last = Last::Bare;
        len
    }
}

/// Bytes of the string that `text` begins with, quotes included.
fn string_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        match text[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// Whether `string`, in quotes, is [`CHANNELS_KEY`], however it is written.
fn names_channels(string: &[u8]) -> bool {
    if string.contains(&b'\\') {
        return serde_json::from_slice(string).is_ok_and(|key: String| key == CHANNELS_KEY);
    }
    string[1..string.len() - 1] == *CHANNELS_KEY.as_bytes()
}

/// The names in `value`, a colon before it.
fn names(value: &[u8]) -> Result<Vec<String>, CodecError> {
    let value = value.strip_prefix(b":").unwrap_or_default();
    let names = match value.first() {
        Some(b'[') => serde_json::from_slice(value),
        _ => serde_json::from_slice(value).map(|name| vec![name]),
    };
    names
        .map_err(|_| CodecError::Channels(excerpt(&String::from_utf8_lossy(value), excerpt::VALUE)))
}

/// Appends `string`, in quotes, with everything but printable ASCII escaped as Python does it.
fn push_ascii(out: &mut Vec<u8>, string: &[u8]) {
    if string.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\\') {
        out.extend_from_slice(string);
        return;
    }
    let text: String = serde_json::from_slice(string).expect("only checked JSON is written");
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(br#"\""#),
            '\\' => out.extend_from_slice(br"\\"),
            '\n' => out.extend_from_slice(br"\n"),
            '\r' => out.extend_from_slice(br"\r"),
            '\t' => out.extend_from_slice(br"\t"),
            '\u{8}' => out.extend_from_slice(br"\b"),
            '\u{c}' => out.extend_from_slice(br"\f"),
            ' '..='~' => out.extend(u8::try_from(c)),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("memory takes every character");
                }
            }
        }
    }
    out.push(b'"');
}
