//! From msgpack to compact JSON in one pass.
//!
//! A length in the input only controls loops; memory is allocated only for bytes that are there.

use data_encoding::BASE64;
use rmp::Marker;
use serde::Serialize;

use crate::channels::codec::CodecError;
use crate::channels::codec::channel::CHANNELS_KEY;
use crate::event::Event;

/// The JSON of `message` without its channels, and those.
///
/// Duplicate keys are left for [`Event::parse`] to find, which checks for them in any case.
pub(in crate::channels::codec) fn read(
    message: &[u8],
) -> Result<(Vec<u8>, Vec<String>), CodecError> {
    if message.first() == Some(&b'{') {
        return Err(CodecError::Serializer { found: "json", set: "msgpack" });
    }
    // Quotes and separators are a little longer than msgpack's headers.
    let json = Vec::with_capacity(message.len() + message.len() / 4 + 16);
    let mut reader = Reader { message, at: 0, json };
    let channels = reader.message()?;
    match message.len() - reader.at {
        0 => Ok((reader.json, channels)),
        more => Err(CodecError::Trailing(more)),
    }
}

/// The channels whose key ends where `rest` begins.
pub(in crate::channels::codec) fn read_channels(rest: &[u8]) -> Result<Vec<String>, CodecError> {
    Reader { message: rest, at: 0, json: Vec::new() }.channels()
}

struct Reader<'m> {
    message: &'m [u8],
    /// The next byte to be read.
    at: usize,
    json: Vec<u8>,
}

impl<'m> Reader<'m> {
    /// The outermost map.
    fn message(&mut self) -> Result<Vec<String>, CodecError> {
        let marker = self.marker("a message")?;
        let len = match marker {
            Marker::FixMap(len) => usize::from(len),
            Marker::Map16 => self.length::<2>("a map")?,
            Marker::Map32 => self.length::<4>("a map")?,
            other => return Err(CodecError::NotMap(name(other))),
        };
        let mut channels = None;
        self.json.push(b'{');
        for _ in 0..len {
            let key = self.key()?;
            if key == CHANNELS_KEY {
                if channels.replace(self.channels()?).is_some() {
                    return Err(CodecError::ChannelsTwice);
                }
                continue;
            }
            self.pair(key, 0)?;
        }
        self.json.push(b'}');
        Ok(channels.unwrap_or_default())
    }

    /// A value within `depth` arrays and maps.
    fn value(&mut self, depth: usize) -> Result<(), CodecError> {
        let at = self.at;
        match self.marker("a value")? {
            Marker::Null => self.json.extend_from_slice(b"null"),
            Marker::False => self.json.extend_from_slice(b"false"),
            Marker::True => self.json.extend_from_slice(b"true"),
            Marker::FixPos(n) => self.scalar(&n),
            Marker::FixNeg(n) => self.scalar(&n),
            Marker::U8 => self.number(u8::from_be_bytes)?,
            Marker::U16 => self.number(u16::from_be_bytes)?,
            Marker::U32 => self.number(u32::from_be_bytes)?,
            Marker::U64 => self.number(u64::from_be_bytes)?,
            Marker::I8 => self.number(i8::from_be_bytes)?,
            Marker::I16 => self.number(i16::from_be_bytes)?,
            Marker::I32 => self.number(i32::from_be_bytes)?,
            Marker::I64 => self.number(i64::from_be_bytes)?,
            // Widened first, as Python does: the shortest text of an f32 is another number.
            Marker::F32 => self.number(|bytes| f64::from(f32::from_be_bytes(bytes)))?,
            Marker::F64 => self.number(f64::from_be_bytes)?,
            marker @ (Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32) => {
                let text = self.text(marker, at)?;
                self.scalar(text);
            }
            Marker::Bin8 => self.binary::<1>()?,
            Marker::Bin16 => self.binary::<2>()?,
            Marker::Bin32 => self.binary::<4>()?,
            Marker::FixArray(len) => self.array(usize::from(len), depth)?,
            Marker::Array16 => self.array_of::<2>(depth)?,
            Marker::Array32 => self.array_of::<4>(depth)?,
            Marker::FixMap(len) => self.map(usize::from(len), depth)?,
            Marker::Map16 => self.map_of::<2>(depth)?,
            Marker::Map32 => self.map_of::<4>(depth)?,
            Marker::Ext8 => return self.extension::<1>(at),
            Marker::Ext16 => return self.extension::<2>(at),
            Marker::Ext32 => return self.extension::<4>(at),
            Marker::FixExt1
            | Marker::FixExt2
            | Marker::FixExt4
            | Marker::FixExt8
            | Marker::FixExt16 => return self.extension::<0>(at),
            Marker::Reserved => return Err(CodecError::Reserved(at)),
        }
        Ok(())
    }

    fn array_of<const N: usize>(&mut self, depth: usize) -> Result<(), CodecError> {
        let len = self.length::<N>("an array")?;
        self.array(len, depth)
    }

    fn array(&mut self, len: usize, depth: usize) -> Result<(), CodecError> {
        let depth = deeper(depth)?;
        self.json.push(b'[');
        for n in 0..len {
            if n > 0 {
                self.json.push(b',');
            }
            self.value(depth)?;
        }
        self.json.push(b']');
        Ok(())
    }

    fn map_of<const N: usize>(&mut self, depth: usize) -> Result<(), CodecError> {
        let len = self.length::<N>("a map")?;
        self.map(len, depth)
    }

    fn map(&mut self, len: usize, depth: usize) -> Result<(), CodecError> {
        let depth = deeper(depth)?;
        self.json.push(b'{');
        for _ in 0..len {
            let key = self.key()?;
            self.pair(key, depth)?;
        }
        self.json.push(b'}');
        Ok(())
    }

    /// `key` and the value that follows, in the map that is open.
    fn pair(&mut self, key: &str, depth: usize) -> Result<(), CodecError> {
        if self.json.last() != Some(&b'{') {
            self.json.push(b',');
        }
        self.scalar(key);
        self.json.push(b':');
        self.value(depth)
    }

    fn key(&mut self) -> Result<&'m str, CodecError> {
        let at = self.at;
        match self.marker("a key")? {
            marker @ (Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32) => {
                self.text(marker, at)
            }
            other => Err(CodecError::Key { found: name(other), at }),
        }
    }

    /// Names of channels: a string or an array of strings.
    fn channels(&mut self) -> Result<Vec<String>, CodecError> {
        let at = self.at;
        let len = match self.marker("a value")? {
            Marker::FixArray(len) => usize::from(len),
            Marker::Array16 => self.length::<2>("an array")?,
            Marker::Array32 => self.length::<4>("an array")?,
            marker => return Ok(vec![self.channel(marker, at)?]),
        };
        let mut names = Vec::new();
        for _ in 0..len {
            let at = self.at;
            let marker = self.marker("a value")?;
            names.push(self.channel(marker, at)?);
        }
        Ok(names)
    }

    fn channel(&mut self, marker: Marker, at: usize) -> Result<String, CodecError> {
        match marker {
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                self.text(marker, at).map(str::to_owned)
            }
            other => Err(CodecError::Channels(format!("with {}", name(other)))),
        }
    }

    /// The string whose `marker`, of the string family, was at `at`.
    fn text(&mut self, marker: Marker, at: usize) -> Result<&'m str, CodecError> {
        let len = match marker {
            Marker::FixStr(len) => usize::from(len),
            Marker::Str8 => self.length::<1>("a string")?,
            Marker::Str16 => self.length::<2>("a string")?,
            _ => self.length::<4>("a string")?,
        };
        let bytes = self.take(len, "a string", at)?;
        std::str::from_utf8(bytes).map_err(|_| CodecError::NotUtf8(at))
    }

    fn binary<const N: usize>(&mut self) -> Result<(), CodecError> {
        let at = self.at - 1;
        let len = self.length::<N>("binary")?;
        let bytes = self.take(len, "binary", at)?;
        self.json.push(b'"');
        let start = self.json.len();
        self.json.resize(start + BASE64.encode_len(len), 0);
        BASE64.encode_mut(bytes, &mut self.json[start..]);
        self.json.push(b'"');
        Ok(())
    }

    /// Refuses the extension type at `at`, whose length has `N` bytes.
    fn extension<const N: usize>(&mut self, at: usize) -> Result<(), CodecError> {
        self.take(N, "an extension type", at)?;
        let [kind] = self.bytes("an extension type")?;
        Err(CodecError::Extension { kind: i8::from_be_bytes([kind]), at })
    }

    fn number<const N: usize, T: Serialize>(
        &mut self,
        from_bytes: impl Fn([u8; N]) -> T,
    ) -> Result<(), CodecError> {
        let bytes = self.bytes("a number")?;
        self.scalar(&from_bytes(bytes));
        Ok(())
    }

    /// Appends a number or a string. What is no number becomes `null`, as serde_json has it.
    fn scalar<T: Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut self.json, value).expect("memory takes every scalar");
    }

    fn marker(&mut self, what: &'static str) -> Result<Marker, CodecError> {
        let &byte = self.message.get(self.at).ok_or(CodecError::Truncated { what, at: self.at })?;
        self.at += 1;
        Ok(Marker::from_u8(byte))
    }

    /// A length of `N` bytes behind a marker.
    fn length<const N: usize>(&mut self, what: &'static str) -> Result<usize, CodecError> {
        let bytes = self.bytes::<N>(what)?;
        Ok(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    /// `N` bytes behind a marker.
    fn bytes<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CodecError> {
        let bytes = self.take(N, what, self.at - 1)?;
        Ok(bytes.try_into().expect("N bytes were taken"))
    }

    /// The next `len` bytes, of something that begins at `at`.
    fn take(&mut self, len: usize, what: &'static str, at: usize) -> Result<&'m [u8], CodecError> {
        let rest = &self.message[self.at..];
        let taken = rest.get(..len).ok_or(CodecError::Truncated { what, at })?;
        self.at += len;
        Ok(taken)
    }
}

/// Enters one more array or map; refused before the stack could overflow.
fn deeper(depth: usize) -> Result<usize, CodecError> {
    let deeper = depth + 1;
    if deeper >= Event::MAX_DEPTH { Err(CodecError::TooDeep) } else { Ok(deeper) }
}

/// The name of a marker's type, for errors.
fn name(marker: Marker) -> &'static str {
    match marker {
        Marker::Null => "nil",
        Marker::False | Marker::True => "a boolean",
        Marker::F32 | Marker::F64 => "a float",
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => "a string",
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => "binary",
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => "an array",
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => "a map",
        Marker::Ext8
        | Marker::Ext16
        | Marker::Ext32
        | Marker::FixExt1
        | Marker::FixExt2
        | Marker::FixExt4
        | Marker::FixExt8
        | Marker::FixExt16 => "an extension type",
        Marker::Reserved => "byte 0xc1",
        _ => "an integer",
    }
}
