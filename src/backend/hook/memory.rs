//! What the back end has said lately, and what it is being asked at this moment.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::request::Key;
use super::verdict::HookVerdict;
use crate::bounded_map::{ExpiringMap, Limits};

/// Most bytes that words may take. At some 500 each, 30,000 people within the minute that a verdict is
/// kept; beyond that the oldest are asked about again.
const MAX_BYTES: usize = 16 << 20;

/// What an entry takes beside the answer it was made of.
const ENTRY: usize = 400;

/// A verdict that is awaited.
pub(super) type Awaited = watch::Receiver<Option<HookVerdict>>;

/// Bounded in bytes.
#[derive(Debug)]
pub(super) struct Memory {
    /// Those under way are bounded by their places.
    asking: HashMap<Key, Awaited>,
    known: ExpiringMap<Key, HookVerdict>,
}

/// What is known of somebody.
pub(super) enum Found {
    Known(HookVerdict),
    /// Somebody else asks the same.
    Asking(Awaited),
    Nothing,
}

impl Memory {
    pub(super) fn look(&self, key: &Key, now: Instant) -> Found {
        match (self.asking.get(key), self.known.get(key, now)) {
            // Whoever asked may have gone without a verdict: then nobody will answer.
            (Some(awaited), _) if awaited.has_changed().is_ok() => Found::Asking(awaited.clone()),
            (None, Some(verdict)) => Found::Known(verdict.clone()),
            _ => Found::Nothing,
        }
    }

    /// Notes that the back end is being asked.
    pub(super) fn begin(&mut self, key: Key, awaited: Awaited, now: Instant) {
        self.known.remove(&key, now);
        self.asking.insert(key, awaited);
    }

    /// Keeps a verdict for `time`, which may be none at all.
    pub(super) fn settle(&mut self, key: Key, verdict: HookVerdict, time: Duration, now: Instant) {
        self.asking.remove(&key);
        if time.is_zero() {
            self.known.remove(&key, now);
            return;
        }
        let answer =
            if let HookVerdict::Accepted(accepted) = &verdict { accepted.weight } else { 0 };
        self.known.insert(key, verdict, ENTRY + answer, now + time, now);
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { asking: HashMap::new(), known: ExpiringMap::new(Limits::bytes(MAX_BYTES)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn is_known(memory: &Memory, key: u8, now: Instant) -> bool {
        matches!(memory.look(&[key; 32], now), Found::Known(_))
    }

    #[test]
    fn a_word_is_known_for_its_time() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.settle([1; 32], HookVerdict::Forbidden, MINUTE, now);
        memory.settle([2; 32], HookVerdict::Forbidden, Duration::ZERO, now);
        assert!(is_known(&memory, 1, now + MINUTE - Duration::from_millis(1)));
        assert!(!is_known(&memory, 1, now + MINUTE));
        assert!(!is_known(&memory, 2, now), "not kept at all");
        memory.settle([3; 32], HookVerdict::Forbidden, MINUTE, now + MINUTE);
        assert_eq!(memory.known.len(), 1, "the old is forgotten");
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let count = MAX_BYTES / ENTRY + 10;
        for n in 0..count {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_be_bytes());
            memory.settle(key, HookVerdict::Forbidden, MINUTE, now);
        }
        assert_eq!(memory.known.len(), MAX_BYTES / ENTRY);
        assert!(!is_known(&memory, 0, now), "the first of all");
    }

    #[test]
    fn a_question_whose_asker_is_gone_is_nobodys() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let (asker, awaited) = watch::channel(None);
        memory.begin([1; 32], awaited, now);
        assert!(matches!(memory.look(&[1; 32], now), Found::Asking(_)));
        drop(asker);
        assert!(matches!(memory.look(&[1; 32], now), Found::Nothing));
    }
}
