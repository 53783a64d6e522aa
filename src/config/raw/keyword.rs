//! Values that a room parses itself, such as the name of a serializer.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that a room parses itself; its error names what is allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Keyword<T>(pub(crate) T);

impl<T: Display> Serialize for Keyword<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Keyword<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Keyword).map_err(serde::de::Error::custom)
    }
}
