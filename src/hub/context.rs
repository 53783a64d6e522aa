//! What every step of a shard reads but does not change: configuration, ids, the time of the turn.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::ShardConfig;
use super::metrics::HubMetrics;
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
    /// Seconds since 1970 when the shard started, to which monotonic time is added: tokens expire
    /// by the wall clock, but a step of it must not close every connection.
    started_unix: u64,
    /// When the process last resumed after a pause. Input of clients may be unread since then.
    resumed: Instant,
}

/// Time between two turns that only a pause of the process explains: the longest sleep is a second,
/// and turns are much shorter.
const PAUSE: Duration = Duration::from_secs(5);

impl Context {
    pub(super) fn metrics(&self) -> &Metrics {
        &self.config.metrics
    }
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: now, now, started_unix: unix.as_secs(), resumed: now }
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
}
