//! Users whose connections were closed lately: verdicts about them from before are outdated.

use std::time::{Duration, Instant};

use crate::bounded_map::{ExpiringMap, MapLimits};

/// Most users: those whom a back end may close within the minute that a verdict is cached.
const MAX_USERS: usize = 100_000;

/// When each was closed last.
#[derive(Debug)]
pub(super) struct RecentlyClosed {
    /// By `sub`: seconds since 1970.
    closed_at: ExpiringMap<Box<str>, u64>,
    /// How long a verdict can still be in use that was asked for before.
    memory: Duration,
}

impl RecentlyClosed {
    pub(super) fn new(memory: Duration) -> Self {
        Self { closed_at: ExpiringMap::new(MapLimits::entries(MAX_USERS)), memory }
    }

    /// `at`: seconds since 1970.
    pub(super) fn insert(&mut self, sub: &str, at: u64, now: Instant) {
        self.closed_at.insert(sub.into(), at, sub.len(), now + self.memory, now);
    }

    /// Whether the user was closed in this second since 1970 or later. A verdict of the same second
    /// may be from before.
    pub(super) fn closed_since(&self, sub: &str, at: u64) -> bool {
        self.closed_at.get(sub, Instant::now()).is_some_and(|closed| *closed >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outdates_verdicts_up_to_the_second_of_the_close() {
        let (mut closed, now) = (RecentlyClosed::new(Duration::from_secs(60)), Instant::now());
        assert!(!closed.closed_since("7", 0));
        closed.insert("7", 100, now);
        assert_eq!([99, 100, 101].map(|at| closed.closed_since("7", at)), [true, true, false]);
        assert!(!closed.closed_since("8", 99));
    }
}
