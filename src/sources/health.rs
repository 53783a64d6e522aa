//! Whether sources are being drained.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::channels::Refusals;

/// Greatest age of the last read. Sources are read each second, so a failure shows within three.
const STALE: Duration = Duration::from_millis(2200);

/// Shared by the drainer and the readiness checks.
#[derive(Debug, Default)]
pub(super) struct DrainHealth {
    pub(super) refusals: Refusals,
    last_look: Mutex<Option<Instant>>,
    /// Entries in the sources at the last read.
    pub(super) waiting: AtomicU64,
    stopped: AtomicBool,
}

impl DrainHealth {
    /// Redis has answered a read of the sources.
    pub(super) fn looked(&self) {
        *self.last_look.lock() = Some(Instant::now());
    }

    /// Whether entries of sources are being delivered.
    pub(super) fn is_draining(&self) -> bool {
        let last = *self.last_look.lock();
        self.refusals.is_empty() && last.is_some_and(|at| at.elapsed() < STALE)
    }

    /// Draining was stopped.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}
