//! The two ways in which a client names groups with positions: a list and a map.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::inbound::JoinEntry;

/// Most groups in one frame; a frame is 16 KiB, so this bounds work, not memory.
const MAX_ENTRIES: usize = 1024;

/// `"groups": ["a", {"group": "b", "since": {"epoch": "…", "offset": 3}}]`.
pub(super) struct Entries<'a>(pub(super) Vec<JoinEntry<'a>>);

/// `"since": {"a": {"epoch": "…", "offset": 3}}`.
#[derive(Default)]
pub(super) struct Since<'a>(pub(super) Vec<JoinEntry<'a>>);

#[derive(serde::Deserialize)]
struct RawPosition<'a> {
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    offset: u64,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Entry<'a> {
    Name(#[serde(borrow)] Cow<'a, str>),
    Full {
        #[serde(borrow)]
        group: Cow<'a, str>,
        #[serde(borrow)]
        since: Option<RawPosition<'a>>,
    },
}

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Vec::<Entry<'a>>::deserialize(deserializer)?;
        if raw.is_empty() || raw.len() > MAX_ENTRIES {
            let message = format!("{} groups; 1 to {MAX_ENTRIES} are allowed", raw.len());
            return Err(serde::de::Error::custom(message));
        }
        let entries = raw.into_iter().map(|entry| match entry {
            Entry::Name(group) => JoinEntry { group, since: None },
            Entry::Full { group, since } => {
                JoinEntry { group, since: since.map(|p| (p.epoch, p.offset)) }
            }
        });
        Ok(Self(entries.collect()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Since<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Positions;

        impl<'de> Visitor<'de> for Positions {
            type Value = Vec<JoinEntry<'de>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of group names and positions")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((group, position)) =
                    map.next_entry::<Cow<'de, str>, RawPosition<'de>>()?
                {
                    if entries.len() == MAX_ENTRIES {
                        return Err(serde::de::Error::custom("more than 1024 groups"));
                    }
                    entries
                        .push(JoinEntry { group, since: Some((position.epoch, position.offset)) });
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(Positions).map(Self)
    }
}
