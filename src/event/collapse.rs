//! What two events have in common, of which the newer replaces the older.

use std::borrow::Cow;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::Hasher;
use std::num::NonZeroU64;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Event;

/// A hash of the value that they have in common, 64 bits wide: two values of a queue, of some
/// thousand at most, have the same once in 10^13.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CollapseKey(NonZeroU64);

impl CollapseKey {
    /// That of all events of a group whose newest event alone counts.
    pub(crate) const GROUP: Self = Self(NonZeroU64::MIN);

    /// By a member of the event. Its value is compared as it is written. `None` = it has none, and
    /// replaces nothing.
    pub(crate) fn of(event: &Event, member: &str) -> Option<Self> {
        let mut json = serde_json::Deserializer::from_slice(event.json());
        let value = json.deserialize_map(Find(member)).ok()??;
        let mut hasher = DefaultHasher::new();
        hasher.write(value.get().as_bytes());
        Some(Self(NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MAX)))
    }
}

/// Finds a member by its name.
struct Find<'a>(&'a str);

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match name == self.0 {
                true => found = Some(map.next_value()?),
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}
