//! Whether sources are drained at present.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

/// How old the last look may be: two of a second each were missed, so that it shows within three.
const STALE: Duration = Duration::from_millis(2200);

/// Shared by the tasks of one bridge.
#[derive(Debug, Default)]
pub(super) struct DrainHealth {
    known: Mutex<Known>,
    rests: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    /// When sources were last looked at.
    looked: Option<Instant>,
    /// What Redis refuses, and of what; it lasts until somebody mends it.
    refused: BTreeMap<String, String>,
}

impl DrainHealth {
    /// Sources were looked at.
    pub(super) fn looked(&self) {
        self.known().looked = Some(Instant::now());
    }

    /// Redis refuses something about `what`: said once, however often it is tried.
    pub(super) fn refused(&self, what: &str, why: &str) {
        let before = self.known().refused.insert(what.to_owned(), why.to_owned());
        if before.as_deref() != Some(why) {
            tracing::error!(what, why, "events do not get through: redis refuses");
        }
    }

    /// Redis refuses nothing about `what`.
    pub(super) fn mended(&self, what: &str) {
        let before = self.known().refused.remove(what);
        if before.is_some() {
            tracing::info!(what, "redis refuses it no more");
        }
    }

    /// Whether what waits in sources is on its way.
    pub(super) fn is_well(&self) -> bool {
        let known = self.known();
        known.refused.is_empty() && known.looked.is_some_and(|at| at.elapsed() < STALE)
    }

    /// Nothing is to be drained any more.
    pub(super) fn rest(&self) {
        self.rests.store(true, Ordering::Release);
    }

    pub(super) fn rests(&self) -> bool {
        self.rests.load(Ordering::Acquire)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}
