//! From an event's JSON to the bytes that Python's `packb` makes of the same map.

use std::fmt;

use rmp::Marker;
use rmp::encode::{
    ByteBuf, write_array_len, write_bool, write_f64, write_map_len, write_nil, write_sint,
    write_str, write_uint,
};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::channels::codec::channel::{CHANNELS_KEY, MessageChannels};
use crate::event::Event;

/// `event` and `channel` as one map, behind `prefix`.
pub(in crate::channels::codec) fn write(
    event: &Event,
    channel: MessageChannels<'_>,
    prefix: &[u8],
) -> Vec<u8> {
    let json = event.json();
    // msgpack is seldom longer than JSON; the channel's key and name are extra.
    let mut out = Vec::with_capacity(prefix.len() + json.len() + 64);
    out.extend_from_slice(prefix);
    let mut out = ByteBuf::from_vec(out);
    ValueWriter { out: &mut out, outermost: Some(channel) }
        .deserialize(&mut serde_json::Deserializer::from_slice(json))
        .expect("an event is checked JSON");
    out.into_vec()
}

/// One value that is about to be written.
struct ValueWriter<'w, 'c> {
    out: &'w mut ByteBuf,
    /// Of the outermost map: the channels it ends with.
    outermost: Option<MessageChannels<'c>>,
}

impl<'de> DeserializeSeed<'de> for ValueWriter<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueWriter<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        let Ok(()) = write_nil(self.out);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        let Ok(()) = write_bool(self.out, value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        let Ok(_) = write_sint(self.out, value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        let Ok(_) = write_uint(self.out, value);
        Ok(())
    }

    /// Integers beyond 64 bits come here too: `packb` refuses them, a float is what browsers see.
    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        let Ok(()) = write_f64(self.out, value);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        let Ok(()) = write_str(self.out, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let header = Header::reserve(self.out);
        let mut len = 0;
        while seq.next_element_seed(ValueWriter { out: self.out, outermost: None })?.is_some() {
            len += 1;
        }
        header.fill(self.out, len, Marker::FixArray, |out, len| {
            let Ok(_) = write_array_len(out, len);
        });
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let header = Header::reserve(self.out);
        let left_out = self.outermost.map(|_| CHANNELS_KEY);
        let mut len = 0;
        while let Some(written) = map.next_key_seed(KeyWriter { out: self.out, left_out })? {
            if !written {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            map.next_value_seed(ValueWriter { out: self.out, outermost: None })?;
            len += 1;
        }
        if let Some(channel) = self.outermost {
            len += write_channel(self.out, channel);
        }
        header.fill(self.out, len, Marker::FixMap, |out, len| {
            let Ok(_) = write_map_len(out, len);
        });
        Ok(())
    }
}

/// Writes a key, unless it is the one left out; returns whether it did.
struct KeyWriter<'w> {
    out: &'w mut ByteBuf,
    left_out: Option<&'static str>,
}

impl<'de> DeserializeSeed<'de> for KeyWriter<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyWriter<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        let written = self.left_out != Some(key);
        if written {
            let Ok(()) = write_str(self.out, key);
        }
        Ok(written)
    }
}

/// Entries added to the map: one, or none.
fn write_channel(out: &mut ByteBuf, channel: MessageChannels<'_>) -> usize {
    let names = match channel {
        MessageChannels::None => return 0,
        MessageChannels::One(name) => {
            let Ok(()) = write_str(out, CHANNELS_KEY);
            let Ok(()) = write_str(out, name);
            return 1;
        }
        MessageChannels::Many(names) => names,
    };
    let Ok(()) = write_str(out, CHANNELS_KEY);
    let Ok(_) = write_array_len(out, len32(names.len()));
    for name in names {
        let Ok(()) = write_str(out, name);
    }
    1
}

/// Room for the header of an array or a map, whose length is known only at its end in JSON.
///
/// One byte suffices for 15 entries; more are moved, which is rarer and cheaper than counting
/// every collection beforehand.
struct Header(usize);

impl Header {
    fn reserve(out: &mut ByteBuf) -> Self {
        let at = out.as_vec().len();
        out.as_mut_vec().push(0);
        Self(at)
    }

    fn fill(
        self,
        out: &mut ByteBuf,
        len: usize,
        short: fn(u8) -> Marker,
        long: fn(&mut ByteBuf, u32),
    ) {
        let Self(at) = self;
        if let Some(len) = u8::try_from(len).ok().filter(|len| *len < 16) {
            out.as_mut_vec()[at] = short(len).to_u8();
            return;
        }
        let mut header = ByteBuf::with_capacity(5);
        long(&mut header, len32(len));
        out.as_mut_vec().splice(at..=at, header.into_vec());
    }
}

fn len32(len: usize) -> u32 {
    u32::try_from(len).expect("an event is smaller than 4 GiB")
}
