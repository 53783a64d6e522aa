//! Users whose connections were closed recently: earlier verdicts on them are outdated.

use std::time::{Duration, Instant};

use crate::bounded_map::{ExpiringMap, MapLimits};

/// Most users: more than a back end closes within the minute for which a verdict is cached.
const MAX_USERS: usize = 100_000;

/// The last close of each user.
#[derive(Debug)]
pub(super) struct RecentlyClosed {
    /// By `sub`: seconds since 1970, which cached verdicts have, and the exact moment.
    closed_at: ExpiringMap<Box<str>, (u64, Instant)>,
    /// When it was last unknown who had been closed.
    everybody: Option<(u64, Instant)>,
    /// How long a verdict that was requested before the close may still be in use.
    memory: Duration,
}

impl RecentlyClosed {
    pub(super) fn new(memory: Duration) -> Self {
        let closed_at = ExpiringMap::new(MapLimits::entries(MAX_USERS));
        Self { closed_at, everybody: None, memory }
    }

    /// `at`: seconds since 1970.
    pub(super) fn insert(&mut self, sub: &str, at: u64, now: Instant) {
        self.closed_at.insert(sub.into(), (at, now), sub.len(), now + self.memory, now);
    }

    /// Any user may have been closed. `at`: seconds since 1970.
    pub(super) fn insert_everybody(&mut self, at: u64, now: Instant) {
        self.everybody = Some((at, now));
    }

    /// Whether the user was closed at `at`, in seconds since 1970, or later. A verdict of the same
    /// second may be older than the close.
    pub(super) fn closed_since(&self, sub: &str, at: u64) -> bool {
        self.closes(sub).any(|(closed, _)| *closed >= at)
    }

    /// Whether the user was closed after `moment`. A client that returns within the second of its
    /// close is admitted by this.
    pub(super) fn closed_after(&self, sub: &str, moment: Instant) -> bool {
        self.closes(sub).any(|(_, closed)| *closed > moment)
    }

    fn closes(&self, sub: &str) -> impl Iterator<Item = &(u64, Instant)> {
        self.closed_at.get(sub, Instant::now()).into_iter().chain(&self.everybody)
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
        assert!(!closed.closed_after("7", now), "requested within the second, after the close");
        assert!(closed.closed_after("7", now - Duration::from_millis(1)));
    }

    #[test]
    fn outdates_every_verdict_while_it_is_unknown_who_was_closed() {
        let (mut closed, now) = (RecentlyClosed::new(Duration::from_secs(60)), Instant::now());
        closed.insert_everybody(100, now);
        assert_eq!([100, 101].map(|at| closed.closed_since("8", at)), [true, false]);
        assert!(closed.closed_after("8", now - Duration::from_millis(1)));
        assert!(!closed.closed_after("8", now));
    }
}
