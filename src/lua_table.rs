//! Tables that scripts in Redis read with `cmsgpack.unpack`: named fields instead of positions.

use std::time::Duration;

use bytes::Bytes;
use rmp::encode;

/// Why writing to memory cannot fail.
const MEMORY: &str = "memory takes what is written";

/// Most fields of a table: its first byte counts them in four bits.
const MAX_FIELDS: u8 = 15;

/// Builds a Lua table. Fields that are not set are `nil`.
#[derive(Debug)]
pub(crate) struct LuaTable {
    bytes: Vec<u8>,
    /// Where the table begins in `bytes`.
    start: usize,
}

impl LuaTable {
    pub(crate) fn new() -> Self {
        Self::behind(Vec::new())
    }

    /// A table that is written behind what `bytes` holds, so that many share one allocation.
    pub(crate) fn behind(mut bytes: Vec<u8>) -> Self {
        let start = bytes.len();
        encode::write_map_len(&mut bytes, 0).expect(MEMORY);
        Self { bytes, start }
    }

    /// A text, or bytes of any kind: Lua has one string type for both.
    pub(crate) fn text(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.name(name);
        write_bytes(&mut self.bytes, value.as_ref());
        self
    }

    /// A number that Lua can hold exactly: below 2^53.
    pub(crate) fn number(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        encode::write_uint(&mut self.bytes, value).expect(MEMORY);
        self
    }

    /// A span in milliseconds.
    pub(crate) fn millis(self, name: &str, span: Duration) -> Self {
        self.number(name, span.as_millis() as u64)
    }

    /// A list of texts, from 1.
    pub(crate) fn texts(
        mut self,
        name: &str,
        values: impl ExactSizeIterator<Item = impl AsRef<[u8]>>,
    ) -> Self {
        self.name(name);
        self.length(values.len());
        values.for_each(|value| write_bytes(&mut self.bytes, value.as_ref()));
        self
    }

    /// A list of tables, from 1.
    pub(crate) fn tables(mut self, name: &str, values: Vec<LuaTable>) -> Self {
        self.name(name);
        self.length(values.len());
        values.iter().for_each(|value| self.bytes.extend_from_slice(&value.bytes[value.start..]));
        self
    }

    /// The argument of a script.
    pub(crate) fn pack(self) -> Bytes {
        let start = self.start;
        Bytes::from(self.into_bytes()).slice(start..)
    }

    /// The table, behind what it was written behind.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn name(&mut self, name: &str) {
        encode::write_str(&mut self.bytes, name).expect(MEMORY);
        let header = &mut self.bytes[self.start];
        assert!(*header & MAX_FIELDS < MAX_FIELDS, "field {name} is one more than a table takes");
        *header += 1;
    }

    fn length(&mut self, length: usize) {
        let length = u32::try_from(length).expect("an argument has fewer values than 2^32");
        encode::write_array_len(&mut self.bytes, length).expect(MEMORY);
    }
}

/// As a string even if not UTF-8: Redis' cmsgpack does not support msgpack's binary type.
fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("an argument has fewer bytes than 2^32");
    encode::write_str_len(out, length).expect(MEMORY);
    out.extend_from_slice(bytes);
}

/// The keys of one call of a script; tables refer to keys by position.
#[derive(Debug, Default)]
pub(crate) struct ScriptKeys {
    keys: Vec<String>,
    places: std::collections::HashMap<String, u64>,
}

impl ScriptKeys {
    /// Starts with the keys that the script addresses by position.
    pub(crate) fn new(keys: Vec<String>) -> Self {
        Self { keys, places: Default::default() }
    }

    /// The position of `key` in the script's `KEYS`; a new key is appended.
    pub(crate) fn place(&mut self, key: String) -> u64 {
        let next = self.keys.len() as u64 + 1;
        *self.places.entry(key).or_insert_with_key(|key| {
            self.keys.push(key.clone());
            next
        })
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_fields_in_order_with_nested_lists() {
        let inner = LuaTable::new().text("a", "b");
        let table =
            LuaTable::new().number("n", 300).texts("t", ["x", "y"].iter()).tables("l", vec![inner]);
        let expected = b"\x83\xa1n\xcd\x01\x2c\xa1t\x92\xa1x\xa1y\xa1l\x91\x81\xa1a\xa1b";
        assert_eq!(table.pack(), &expected[..]);
    }

    #[test]
    fn writes_a_table_behind_another_one() {
        let first = LuaTable::new().text("a", "b").into_bytes();
        let end = first.len();
        let both = LuaTable::behind(first).number("n", 7).into_bytes();
        assert_eq!(&both[..end], b"\x81\xa1a\xa1b");
        assert_eq!(&both[end..], b"\x81\xa1n\x07");
    }

    #[test]
    fn stores_a_repeated_key_once_after_the_fixed_ones() {
        let mut keys = ScriptKeys::new(vec!["fixed".to_owned()]);
        let places = ["a", "b", "a"].map(|key| keys.place(key.to_owned()));
        assert_eq!(places, [2, 3, 2]);
        assert_eq!(keys.into_vec(), ["fixed", "a", "b"]);
    }
}
