//! What every step of a shard reads and none changes: configuration, ids, the time of the turn.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::ShardConfig;
use crate::event::InstanceId;
use crate::socket::Millis;
use crate::telemetry::Metrics;

/// One shard's surroundings.
pub(super) struct Context {
    pub(super) index: usize,
    pub(super) instance: InstanceId,
    pub(super) config: Arc<ShardConfig>,
    pub(super) clock: Clock,
}

/// The shard's time, read once a turn.
pub(super) struct Clock {
    started: Instant,
    pub(super) now: Instant,
    /// Seconds since 1970 when the shard started, to which monotonic time is added: tokens expire
    /// by the wall clock, but a step of it must not close every connection.
    started_unix: u64,
}

impl Context {
    pub(super) fn metrics(&self) -> &Metrics {
        &self.config.metrics
    }
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: now, now, started_unix: unix.as_secs() }
    }

    /// Whole seconds since the shard started.
    pub(super) fn second(&self) -> u32 {
        self.now.duration_since(self.started).as_secs() as u32
    }

    /// Milliseconds since the shard started.
    pub(super) fn millis(&self) -> Millis {
        self.millis_at(self.now)
    }

    /// Any moment on the shard's scale; before its start counts as its start.
    pub(super) fn millis_at(&self, moment: Instant) -> Millis {
        Millis(moment.saturating_duration_since(self.started).as_millis() as u64)
    }

    /// Seconds since 1970.
    pub(super) fn unix(&self) -> u64 {
        self.started_unix + u64::from(self.second())
    }
}
