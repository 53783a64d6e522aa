//! What every step of a shard reads but does not change: configuration, ids, the time of the turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ShardConfig;
use super::metrics::HubMetrics;
use crate::clock;
use crate::event::InstanceId;
use crate::socket::Millis;
use crate::telemetry::Metrics;

/// The context of one shard.
pub(super) struct Context {
    pub(super) index: usize,
    pub(super) instance: InstanceId,
    pub(super) config: Arc<ShardConfig>,
    pub(super) clock: Clock,
    /// Metrics with labels; [`Context::metrics`] has the others.
    pub(super) by_label: HubMetrics,
}

/// The shard's time, read once a turn.
pub(super) struct Clock {
    started: Instant,
    now: Instant,
    /// Seconds since 1970 at the shard's start, as the wall clock tells it now.
    started_unix: u64,
    /// The second in which the wall clock was last read.
    wall_read: u32,
    /// After a jump ahead: what `started_unix` was before, and the second until which tokens expire
    /// by that. One step of the clock must not close every connection.
    before_jump: Option<(u64, u32)>,
    /// When the process last resumed after a pause. Input of clients may be unread since then.
    resumed: Instant,
}

/// Time between two turns that only a pause of the process explains: the longest sleep is a second,
/// and turns are much shorter.
const PAUSE: Duration = Duration::from_secs(5);

/// Seconds by which the wall clock may differ from monotonic time between two readings without
/// having jumped: a time service slews by less.
const MAX_SLEW: u64 = 5;

/// Seconds for which tokens still expire by the old time after a jump ahead: a minute to renew
/// them, after the at most 25 s (by default) that pass until a connection's next timer.
const JUMP_GRACE: u32 = 85;

impl Context {
    pub(super) fn metrics(&self) -> &Metrics {
        &self.config.metrics
    }
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            now,
            started_unix: clock::unix_seconds(),
            wall_read: 0,
            before_jump: None,
            resumed: now,
        }
    }

    /// Whether it is time to read the wall clock, as of `now`.
    pub(super) fn is_wall_due(&self, now: Instant) -> bool {
        now.duration_since(self.started).as_secs() as u32 != self.wall_read
    }

    /// Follows the wall clock, which shows `unix` seconds since 1970 at `now`. Returns by how many
    /// seconds it jumped, if it did.
    pub(super) fn follow_wall(&mut self, now: Instant, unix: u64) -> Option<i64> {
        let second = now.duration_since(self.started).as_secs() as u32;
        self.wall_read = second;
        if self.before_jump.is_some_and(|(_, until)| second >= until) {
            self.before_jump = None;
        }
        let started_unix = unix.saturating_sub(u64::from(second));
        let before = std::mem::replace(&mut self.started_unix, started_unix);
        if before.abs_diff(started_unix) <= MAX_SLEW {
            return None;
        }
        // A jump back is no reason to wait: it expires nothing.
        let ahead = started_unix > before;
        self.before_jump = ahead.then_some((before, second.saturating_add(JUMP_GRACE)));
        Some(started_unix.wrapping_sub(before) as i64)
    }

    /// Begins a turn at `now`.
    pub(super) fn advance(&mut self, now: Instant) {
        if now.saturating_duration_since(self.now) > PAUSE {
            self.resumed = now;
        }
        self.now = now;
    }

    /// When this turn began.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// The second, as in [`Clock::second`], in which the process last resumed after a pause.
    pub(super) fn resumed(&self) -> u32 {
        self.resumed.duration_since(self.started).as_secs() as u32
    }

    /// Whole seconds since the shard started.
    pub(super) fn second(&self) -> u32 {
        self.now.duration_since(self.started).as_secs() as u32
    }

    /// Milliseconds since the shard started.
    pub(super) fn millis(&self) -> Millis {
        self.millis_at(self.now)
    }

    /// A moment on the shard's scale. Moments before its start count as its start.
    pub(super) fn millis_at(&self, moment: Instant) -> Millis {
        Millis(moment.saturating_duration_since(self.started).as_millis() as u64)
    }

    /// Seconds since 1970.
    pub(super) fn unix(&self) -> u64 {
        self.started_unix + u64::from(self.second())
    }

    /// Seconds since 1970 by which the identities of open connections expire.
    pub(super) fn expiry_unix(&self) -> u64 {
        let second = self.second();
        match self.before_jump {
            Some((started_unix, until)) if second < until => started_unix + u64::from(second),
            _ => self.unix(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The clock `seconds` after its start, when the wall clock is `ahead` of where it was then.
    fn at(clock: &mut Clock, seconds: u32, ahead: i64) -> (Option<i64>, i64, i64) {
        let now = clock.started + Duration::from_secs(u64::from(seconds));
        let began = 1_700_000_000;
        if seconds == 0 {
            clock.started_unix = began;
        }
        let wall = began.checked_add_signed(ahead).unwrap() + u64::from(seconds);
        let jumped = clock.follow_wall(now, wall);
        clock.advance(now);
        let shown = |unix: u64| unix as i64 - began as i64 - i64::from(seconds);
        (jumped, shown(clock.unix()), shown(clock.expiry_unix()))
    }

    #[test]
    fn follows_a_slewed_wall_clock() {
        let mut clock = Clock::start();
        assert_eq!(at(&mut clock, 0, 0), (None, 0, 0));
        assert_eq!(at(&mut clock, 10, 5), (None, 5, 5));
        assert_eq!(at(&mut clock, 20, 2), (None, 2, 2));
    }

    #[test]
    fn expires_by_the_old_time_for_a_while_after_a_jump_ahead() {
        let mut clock = Clock::start();
        at(&mut clock, 0, 0);
        assert_eq!(at(&mut clock, 10, 7200), (Some(7200), 7200, 0));
        assert_eq!(at(&mut clock, 10 + JUMP_GRACE - 1, 7200), (None, 7200, 0));
        assert_eq!(at(&mut clock, 10 + JUMP_GRACE, 7200), (None, 7200, 7200));
    }

    #[test]
    fn expires_by_the_new_time_after_a_jump_back() {
        let mut clock = Clock::start();
        at(&mut clock, 0, 0);
        assert_eq!(at(&mut clock, 10, -7200), (Some(-7200), -7200, -7200));
        assert_eq!(at(&mut clock, 20, 0), (Some(7200), 0, -7200), "and ahead again");
    }
}
