//! What the back end has said lately, and what it is being asked at this moment.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::request::Key;
use super::verdict::HookVerdict;

/// Most bytes that words may take. At some 500 each, 30,000 people within the minute that a verdict is
/// kept; beyond that the oldest are asked about again.
const MAX_BYTES: usize = 16 << 20;

/// What an entry takes beside the answer it was made of.
const ENTRY: usize = 400;

/// A verdict that is awaited.
pub(super) type Awaited = watch::Receiver<Option<HookVerdict>>;

/// Bounded in bytes.
#[derive(Debug, Default)]
pub(super) struct Memory {
    entries: HashMap<Key, Entry>,
    /// Words in the order in which they were kept, each with the number of its entry: what was
    /// replaced has another.
    order: VecDeque<(Key, u64)>,
    kept: u64,
    bytes: usize,
}

#[derive(Debug)]
enum Entry {
    Asking(Awaited),
    Known { verdict: HookVerdict, until: Instant, number: u64, bytes: usize },
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
        match self.entries.get(key) {
            Some(Entry::Known { verdict, until, .. }) if now < *until => {
                Found::Known(verdict.clone())
            }
            // Whoever asked has gone without a verdict: nobody will answer.
            Some(Entry::Asking(awaited)) if awaited.has_changed().is_ok() => {
                Found::Asking(awaited.clone())
            }
            _ => Found::Nothing,
        }
    }

    /// Notes that the back end is being asked. Those under way are bounded by their places.
    pub(super) fn begin(&mut self, key: Key, awaited: Awaited) {
        self.remove(&key);
        self.entries.insert(key, Entry::Asking(awaited));
    }

    /// Keeps a verdict for `time`, which may be none at all.
    pub(super) fn settle(&mut self, key: Key, verdict: HookVerdict, time: Duration, now: Instant) {
        self.remove(&key);
        self.forget_old(now);
        if time.is_zero() {
            return;
        }
        let bytes = ENTRY
            + if let HookVerdict::Accepted(accepted) = &verdict { accepted.weight } else { 0 };
        self.kept += 1;
        self.bytes += bytes;
        let number = self.kept;
        self.order.push_back((key, number));
        self.entries.insert(key, Entry::Known { verdict, until: now + time, number, bytes });
        while self.bytes > MAX_BYTES {
            self.forget_oldest();
        }
    }

    /// Refusals are kept for less than words that accept and stand between them: they go with those
    /// before them.
    fn forget_old(&mut self, now: Instant) {
        while let Some((key, number)) = self.order.front() {
            match self.entries.get(key) {
                Some(Entry::Known { until, number: own, .. }) if own == number && now < *until => {
                    return;
                }
                _ => self.forget_oldest(),
            }
        }
    }

    fn forget_oldest(&mut self) {
        let Some((key, number)) = self.order.pop_front() else { return };
        let of_this =
            |entry: &Entry| matches!(entry, Entry::Known { number: own, .. } if *own == number);
        if self.entries.get(&key).is_some_and(of_this) {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(Entry::Known { bytes, .. }) = self.entries.remove(key) {
            self.bytes -= bytes;
        }
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
        assert_eq!((memory.entries.len(), memory.bytes), (1, ENTRY), "the old is forgotten");
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
        assert_eq!(memory.entries.len(), MAX_BYTES / ENTRY);
        assert!(!is_known(&memory, 0, now), "the first of all");
        assert!(memory.order.len() <= memory.entries.len());
    }

    #[test]
    fn a_question_whose_asker_is_gone_is_nobodys() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let (asker, awaited) = watch::channel(None);
        memory.begin([1; 32], awaited);
        assert!(matches!(memory.look(&[1; 32], now), Found::Asking(_)));
        drop(asker);
        assert!(matches!(memory.look(&[1; 32], now), Found::Nothing));
    }
}
