//! What is known of a server besides the layer's, shared by its heartbeat and its users.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// The age of the latest heartbeat beyond which the server counts as away: two were missed.
const STALE: Duration = Duration::from_millis(2200);

/// What heartbeats found.
#[derive(Debug, Default)]
pub(super) struct RemoteState {
    latest: Mutex<Latest>,
    /// The generation, as it changes; 0 = none is known yet.
    generations: watch::Sender<u64>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Latest {
    /// When the latest heartbeat was answered, unless an error came since.
    answered: Option<Instant>,
    /// Whether losses of an earlier generation are to be told.
    is_untold: bool,
    /// The generation up to which this instance told them.
    told: u64,
    /// Why the server does not answer.
    failure: Option<String>,
}

impl Latest {
    fn is_answering(&self) -> bool {
        self.answered.is_some_and(|at| at.elapsed() < STALE)
    }
}

impl RemoteState {
    /// The generation whose entries may be taken.
    pub(super) fn current(&self) -> Option<u64> {
        let latest = self.latest.lock();
        let may_take = latest.is_answering() && !latest.is_untold;
        may_take.then(|| *self.generations.borrow())
    }

    /// The generation whose predecessor's losses are to be told.
    pub(super) fn untold(&self) -> Option<u64> {
        let latest = self.latest.lock();
        let generation = *self.generations.borrow();
        let is_due = latest.is_answering() && latest.is_untold && latest.told < generation;
        is_due.then_some(generation)
    }

    /// Losses before this generation are told.
    pub(super) fn told(&self, generation: u64) {
        self.latest.lock().told = generation;
        self.want_heartbeat();
    }

    /// Has the next heartbeat sent at once.
    pub(super) fn want_heartbeat(&self) {
        self.wanted.notify_one();
    }

    /// The generation, as it changes.
    pub(super) fn generations(&self) -> watch::Receiver<u64> {
        self.generations.subscribe()
    }

    /// Why the server does not answer; `None` = it does.
    pub(super) fn failure(&self) -> Option<String> {
        let latest = self.latest.lock();
        if latest.is_answering() {
            return None;
        }
        Some(latest.failure.clone().unwrap_or_else(|| "there is no answer yet".to_owned()))
    }

    pub(super) fn is_answering(&self) -> bool {
        self.latest.lock().is_answering()
    }

    /// Waits until the next heartbeat is wanted at once.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// The generation known, and the one up to which losses are told.
    pub(super) fn generation(&self) -> (u64, u64) {
        (*self.generations.borrow(), self.latest.lock().told)
    }

    /// Takes the answer to a heartbeat. Returns whether the server was away.
    pub(super) fn answered(&self, generation: u64, is_untold: bool) -> bool {
        let mut latest = self.latest.lock();
        let was_away = latest.failure.take().is_some();
        latest.answered = Some(Instant::now());
        latest.is_untold = is_untold;
        drop(latest);
        self.generations.send_if_modified(|known| {
            let changed = *known != generation;
            *known = generation;
            changed
        });
        was_away
    }

    /// The server does not answer, or refuses. Returns whether that is new.
    pub(super) fn failed(&self, why: String) -> bool {
        let mut latest = self.latest.lock();
        latest.answered = None;
        latest.failure.replace(why).is_none()
    }
}
