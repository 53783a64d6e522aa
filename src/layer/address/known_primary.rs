//! Which primary the sentinels name: each may be behind, away, or cut off with an old primary.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The longest wait for the first answer of a sentinel, if others have failed.
const PATIENCE: Duration = Duration::from_secs(1);

/// A primary as a sentinel names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::layer) struct NamedPrimary {
    /// A name, or an address.
    pub(in crate::layer) host: String,
    pub(in crate::layer) port: u16,
    /// Rises with each failover.
    pub(in crate::layer) epoch: u64,
}

impl NamedPrimary {
    /// Host and port.
    pub(in crate::layer) fn place(&self) -> (String, u16) {
        (self.host.clone(), self.port)
    }
}

/// Why a sentinel names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::layer) struct SentinelFault {
    /// Whether it answered.
    pub(in crate::layer) is_refusal: bool,
    pub(in crate::layer) words: String,
}

/// The answers of the sentinels of one primary, and what follows from them.
#[derive(Default)]
pub(in crate::layer) struct KnownPrimary {
    answers: Mutex<Vec<Option<Result<NamedPrimary, SentinelFault>>>>,
    chosen: watch::Sender<Option<NamedPrimary>>,
    /// How often the place has changed.
    moves: AtomicU64,
    /// The tasks that ask, shared by all who need the answers.
    asking: Mutex<Weak<Asking>>,
}

/// Ends the tasks that ask the sentinels with its last owner.
pub(in crate::layer) struct Asking(pub(in crate::layer) Vec<JoinHandle<()>>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl KnownPrimary {
    /// Takes what the sentinel of this index, one of `count`, says.
    pub(in crate::layer) fn answered(
        &self,
        index: usize,
        count: usize,
        answer: Result<NamedPrimary, SentinelFault>,
    ) {
        let mut answers = self.answers.lock();
        answers.resize(count, None);
        answers[index] = Some(answer);
        let named: Vec<_> = answers.iter().flatten().flatten().cloned().collect();
        self.chosen.send_if_modified(|chosen| {
            let next = choose(&named, count, chosen.as_ref());
            let changed = next != *chosen;
            let place = |it: &Option<NamedPrimary>| it.as_ref().map(NamedPrimary::place);
            if place(&next) != place(chosen) {
                self.moves.fetch_add(1, Ordering::AcqRel);
            }
            *chosen = next;
            changed
        });
    }

    /// How often another place was named. Who reads this and then the primary knows by a greater
    /// number that it has moved since.
    pub(in crate::layer) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Acquire)
    }

    /// Changes whenever sentinels name another primary, or the same after a failover.
    pub(in crate::layer) fn changes(&self) -> watch::Receiver<Option<NamedPrimary>> {
        self.chosen.subscribe()
    }

    /// The primary, once a sentinel has named one.
    ///
    /// # Errors
    /// None did in time: what the first says that refuses, or is away.
    pub(in crate::layer) async fn primary(&self) -> Result<NamedPrimary, SentinelFault> {
        let mut chosen = self.changes();
        let named = timeout(PATIENCE, chosen.wait_for(Option::is_some)).await;
        if let Ok(Ok(named)) = named
            && let Some(primary) = &*named
        {
            return Ok(primary.clone());
        }
        let answers = self.answers.lock();
        let faults = answers.iter().flatten().filter_map(|answer| answer.as_ref().err());
        let fault = faults.max_by_key(|fault| fault.is_refusal).cloned();
        let late = || SentinelFault {
            is_refusal: false,
            words: format!("no sentinel answers within {PATIENCE:?}"),
        };
        Err(fault.unwrap_or_else(late))
    }

    /// The tasks that ask: those that run, or what `start` starts. They end with the last owner.
    pub(in crate::layer) fn asking(&self, start: impl FnOnce() -> Asking) -> Arc<Asking> {
        let mut asking = self.asking.lock();
        if let Some(running) = asking.upgrade() {
            return running;
        }
        let started = Arc::new(start());
        *asking = Arc::downgrade(&started);
        started
    }
}

/// The newest primary that is named. One of an older failover than the known one counts only from
/// all sentinels, as after they were set up anew: those that answer may be behind.
fn choose(
    named: &[NamedPrimary],
    sentinels: usize,
    known: Option<&NamedPrimary>,
) -> Option<NamedPrimary> {
    let Some(newest) = named.iter().map(|primary| primary.epoch).max() else {
        return known.cloned();
    };
    let mut candidates = named.iter().filter(|primary| primary.epoch == newest);
    match known {
        Some(known) if newest < known.epoch && named.len() < sentinels => Some(known.clone()),
        Some(known) if candidates.clone().any(|primary| primary == known) => Some(known.clone()),
        _ => candidates.next().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary(port: u16, epoch: u64) -> NamedPrimary {
        NamedPrimary { host: "127.0.0.1".to_owned(), port, epoch }
    }

    fn says(known: &KnownPrimary, index: usize, port: u16, epoch: u64) -> u16 {
        known.answered(index, 3, Ok(primary(port, epoch)));
        known.chosen.borrow().as_ref().unwrap().port
    }

    #[test]
    fn follows_the_newest_failover_that_any_sentinel_knows() {
        let known = KnownPrimary::default();
        assert_eq!(says(&known, 0, 1, 0), 1);
        assert_eq!(says(&known, 1, 2, 1), 2);
        assert_eq!(says(&known, 2, 1, 0), 2, "it has not heard of it yet");
        known.answered(1, 3, Err(SentinelFault { is_refusal: false, words: String::new() }));
        assert_eq!(says(&known, 2, 1, 0), 2, "those that answer may be behind");
        assert_eq!(says(&known, 1, 1, 0), 1, "all were set up anew");
    }
}
