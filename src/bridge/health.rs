//! Whether sources are drained at present.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How old the last look may be: two of a second each were missed, so that it shows within three.
const STALE: Duration = Duration::from_millis(2200);

/// Shared by the tasks of one bridge.
#[derive(Debug, Default)]
pub(super) struct Vigour {
    known: Mutex<Known>,
    rests: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    /// When all was well last.
    well: Option<Instant>,
    /// What Redis refuses, which lasts until somebody mends it.
    refused: Option<String>,
}

impl Vigour {
    /// Sources were looked at, and what was found could be taken.
    pub(super) fn well(&self) {
        let mut known = self.known();
        known.well = Some(Instant::now());
        if let Some(refused) = known.refused.take() {
            tracing::info!(refused, "sources are drained again");
        }
    }

    /// Redis refuses what draining needs; whether that is news.
    pub(super) fn refused(&self, why: &str) -> bool {
        let mut known = self.known();
        let news = known.refused.as_deref() != Some(why);
        known.refused = Some(why.to_owned());
        news
    }

    /// Whether what waits in sources is on its way.
    pub(super) fn is_well(&self) -> bool {
        let known = self.known();
        known.refused.is_none() && known.well.is_some_and(|at| at.elapsed() < STALE)
    }

    /// Nothing is to be drained any more.
    pub(super) fn rest(&self) {
        self.rests.store(true, Ordering::Release);
    }

    pub(super) fn rests(&self) -> bool {
        self.rests.load(Ordering::Acquire)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
