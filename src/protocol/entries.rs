//! Parses the two forms of groups with positions: a list and a map.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{Text, cut, object, string};

/// Most groups in one frame. A frame is 16 KiB, so this bounds work, not memory.
pub const MAX_GROUPS: usize = 1024;

/// One group of a `join`, `leave` or `hello.since`: a bare name or an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinEntry<'a> {
    /// As sent; not checked yet.
    pub group: Cow<'a, str>,
    /// The last position that the client has seen: epoch and offset.
    pub since: Option<(Cow<'a, str>, u64)>,
    /// Why this entry is invalid; the others of its frame may be valid.
    pub fault: Option<String>,
}

/// What is allowed in `groups`, for messages.
pub(super) const LIST: &str = "a list of 1 to 1024 groups";

const ENTRY: &str = r#"a name or {"group":"a","since":{"epoch":"1.1","offset":0}}"#;
const POSITION: &str = r#"{"epoch":"1.1","offset":0}"#;

/// `"groups": ["a", {"group": "b", "since": {"epoch": "…", "offset": 3}}]`.
pub(super) fn list(raw: &RawValue) -> Result<Vec<JoinEntry<'_>>, String> {
    let Ok(entries) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
        return Err(format!("\"groups\" is {}; {LIST} is allowed", cut(raw.get())));
    };
    if entries.is_empty() || entries.len() > MAX_GROUPS {
        return Err(format!("\"groups\" has {} entries; {LIST} is allowed", entries.len()));
    }
    Ok(entries.into_iter().map(entry).collect())
}

/// `"since": {"a": {"epoch": "…", "offset": 3}}`.
pub(super) fn map(raw: &RawValue) -> Result<Vec<JoinEntry<'_>>, String> {
    let Ok(Pairs(pairs)) = serde_json::from_str(raw.get()) else {
        let value = cut(raw.get());
        return Err(format!("\"since\" is {value}; an object of group names is allowed"));
    };
    if pairs.len() > MAX_GROUPS {
        return Err(format!("\"since\" names {} groups; at most 1024 are allowed", pairs.len()));
    }
    Ok(pairs.into_iter().map(|(group, raw)| with_position(group, Some(raw))).collect())
}

/// Parses one entry. An invalid entry must not affect the others.
fn entry(raw: &RawValue) -> JoinEntry<'_> {
    #[derive(serde::Deserialize)]
    struct Full<'a> {
        #[serde(borrow)]
        group: &'a RawValue,
        #[serde(borrow)]
        since: Option<&'a RawValue>,
    }
    if let Some(group) = string(raw) {
        return JoinEntry { group, since: None, fault: None };
    }
    let named = object::<Full<'_>>(raw.get())
        .and_then(|full| string(full.group).map(|group| (group, full.since)));
    let Some((group, since)) = named else {
        let fault = format!("an entry of \"groups\" is {}; {ENTRY} is allowed", cut(raw.get()));
        return JoinEntry { group: Cow::Borrowed(""), since: None, fault: Some(fault) };
    };
    with_position(group, since)
}

fn with_position<'a>(group: Cow<'a, str>, raw: Option<&'a RawValue>) -> JoinEntry<'a> {
    match raw.map(|raw| read_position(&group, raw)).transpose() {
        Ok(since) => JoinEntry { group, since, fault: None },
        Err(fault) => JoinEntry { group, since: None, fault: Some(fault) },
    }
}

fn read_position<'a>(group: &str, raw: &'a RawValue) -> Result<(Cow<'a, str>, u64), String> {
    #[derive(serde::Deserialize)]
    struct Position<'a> {
        #[serde(borrow)]
        epoch: Cow<'a, str>,
        offset: u64,
    }
    match object(raw.get()) {
        Some(Position { epoch, offset }) => Ok((epoch, offset)),
        None => Err(format!(
            "\"since\" of group {:?} is {}; {POSITION} is allowed",
            cut(group),
            cut(raw.get())
        )),
    }
}

/// An object's members in order; a map type would hide repeated ones.
struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(pairs)
            }
        }

        deserializer.deserialize_map(Members).map(Pairs)
    }
}
