//! Whose the latest connections of this instance were, to check what returning clients claim.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// The users of the latest connections.
///
/// A hash of each, so that a connection costs eight bytes and no lock. A client of which nothing is
/// remembered any more, or that comes from another instance, is believed: by naming somebody else's
/// connection it can only hide events from itself.
pub(super) struct RecentOwners {
    /// By serial number, round and round: the round, from 1, and half a hash of the user.
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// Connections remembered: more than usually return at once. They take half a megabyte.
const REMEMBERED: u64 = 1 << 16;

impl RecentOwners {
    pub(super) fn new() -> Self {
        let slots = (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect();
        Self { slots, hasher: RandomState::new() }
    }

    /// Records that the connection `serial` is of `sub`.
    pub(super) fn record(&self, serial: u64, sub: &str) {
        self.slot(serial).store(self.value(serial, sub), Ordering::Relaxed);
    }

    /// Whether the connection `serial` was of somebody else than `sub`.
    pub(super) fn contradict(&self, serial: u64, sub: &str) -> bool {
        let (stored, claimed) =
            (self.slot(serial).load(Ordering::Relaxed), self.value(serial, sub));
        stored >> 32 == claimed >> 32 && stored != claimed
    }

    fn slot(&self, serial: u64) -> &AtomicU64 {
        &self.slots[(serial % REMEMBERED) as usize]
    }

    fn value(&self, serial: u64, sub: &str) -> u64 {
        let round = (serial / REMEMBERED + 1) << 32;
        round | self.hasher.hash_one(sub) & 0xffff_ffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradicts_only_what_it_remembers() {
        let owners = RecentOwners::new();
        owners.record(5, "7");
        assert!(!owners.contradict(5, "7"));
        assert!(owners.contradict(5, "8"));
        assert!(!owners.contradict(6, "8"), "never seen");
        assert!(!owners.contradict(5 + REMEMBERED, "8"), "not seen yet");
        owners.record(5 + REMEMBERED, "9");
        assert!(!owners.contradict(5, "8"), "forgotten");
        assert!(owners.contradict(5 + REMEMBERED, "7"));
    }
}
