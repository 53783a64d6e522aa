//! Finds the keys of a channel layer, within limits, by SCAN: KEYS would block Redis.

use std::collections::BTreeSet;

use crate::layer::{RedisSession, ScriptError};

/// Most keys that are read.
pub(super) const MOST_KEYS: usize = 10_000;

/// Keys that one SCAN visits, which blocks Redis for some tenths of a millisecond.
const STEP: &str = "1000";

/// Most SCANs, for a layer that shares its Redis with millions of other keys.
const MOST_STEPS: usize = 5000;

/// The keys of a channel layer, by kind.
#[derive(Debug, Default)]
pub(super) struct LayerKeys {
    /// Names of groups.
    pub(super) groups: BTreeSet<String>,
    /// Channels whose mailbox holds messages.
    pub(super) boxes: BTreeSet<String>,
    /// Channels with copies that a receiver left behind.
    pub(super) inflight: BTreeSet<String>,
    /// Whether all were found.
    pub(super) whole: bool,
}

impl LayerKeys {
    pub(super) async fn find(session: &RedisSession, prefix: &str) -> Result<Self, ScriptError> {
        let pattern = format!("{}*", escape(prefix));
        let mut keys = Self::default();
        let mut cursor = "0".to_owned();
        for _ in 0..MOST_STEPS {
            let command = ["SCAN", &cursor, "MATCH", &pattern, "COUNT", STEP, "TYPE", "zset"];
            let (next, found): (String, Vec<String>) = session.ask(&command).await?;
            for key in found {
                keys.add(prefix, &key);
            }
            if keys.count() >= MOST_KEYS {
                return Ok(keys);
            }
            if next == "0" {
                keys.whole = true;
                return Ok(keys);
            }
            cursor = next;
        }
        Ok(keys)
    }

    fn add(&mut self, prefix: &str, key: &str) {
        let Some(rest) = key.strip_prefix(prefix) else { return };
        let (set, name) = match (rest.strip_prefix(":group:"), rest.strip_suffix("$inflight")) {
            (Some(group), _) => (&mut self.groups, group),
            (None, Some(channel)) => (&mut self.inflight, channel),
            (None, None) => (&mut self.boxes, rest),
        };
        set.insert(name.to_owned());
    }

    pub(super) fn count(&self) -> usize {
        self.groups.len() + self.boxes.len() + self.inflight.len()
    }
}

/// A pattern that matches the prefix literally.
fn escape(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len());
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_keys_by_their_names() {
        let mut keys = LayerKeys::default();
        for key in [
            "asgi:group:usuario_7",
            "asgispecific.0a!",
            "asgispecific.0a!$inflight",
            "asgitareas",
            "otra:group:x",
        ] {
            keys.add("asgi", key);
        }
        let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(names(&keys.groups), "usuario_7");
        assert_eq!(names(&keys.boxes), "specific.0a! tareas");
        assert_eq!(names(&keys.inflight), "specific.0a!");
    }

    #[test]
    fn matches_a_prefix_literally() {
        assert_eq!(escape("asgi"), "asgi");
        assert_eq!(escape(r"a*[b]?\"), r"a\*\[b\]\?\\");
    }
}
