//! What happened lately at the edges of an instance, in fixed memory: browsers that were refused at
//! the door, and losses before the layer. Operators ask for it when somebody missed an event.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::clock;
use crate::event::PossibleLoss;
use crate::excerpt::excerpt;

/// Entries of each kind that are kept.
const ENTRIES: usize = 512;

/// Longest cause of a refusal, characters.
const MAX_CAUSE: usize = 300;

/// The newest refusals and losses of one instance.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    refusals: Mutex<VecDeque<NotedRefusal>>,
    losses: Mutex<VecDeque<NotedLoss>>,
}

/// A browser that was refused before it had a connection. It is known by its token at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotedRefusal {
    /// Seconds since 1970.
    pub(crate) at: u64,
    /// The close code.
    pub(crate) code: u16,
    /// The label of the metric.
    pub(crate) reason: &'static str,
    /// As logged.
    pub(crate) cause: String,
    /// The `sub` that its token claims; the token need not be valid.
    pub(crate) claimed: Option<String>,
}

/// A loss before publications reached the layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotedLoss {
    /// Seconds since 1970.
    pub(crate) at: u64,
    /// What it concerns.
    pub(crate) loss: PossibleLoss,
}

impl Journal {
    /// Notes a browser that was refused.
    pub(crate) fn refused(
        &self,
        code: u16,
        reason: &'static str,
        cause: &str,
        claimed: Option<String>,
    ) {
        let cause = excerpt(cause, MAX_CAUSE);
        let refusal = NotedRefusal { at: clock::unix_seconds(), code, reason, cause, claimed };
        push(&mut self.refusals.lock(), refusal);
    }

    /// Notes a loss.
    pub(crate) fn lost(&self, loss: &PossibleLoss) {
        let loss = NotedLoss { at: clock::unix_seconds(), loss: loss.clone() };
        push(&mut self.losses.lock(), loss);
    }

    /// The newest refusals, oldest first.
    pub(crate) fn refusals(&self) -> Vec<NotedRefusal> {
        self.refusals.lock().iter().cloned().collect()
    }

    /// The newest losses, oldest first.
    pub(crate) fn losses(&self) -> Vec<NotedLoss> {
        self.losses.lock().iter().cloned().collect()
    }
}

fn push<T>(entries: &mut VecDeque<T>, entry: T) {
    if entries.len() == ENTRIES {
        entries.pop_front();
    }
    entries.push_back(entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_entries() {
        let journal = Journal::default();
        for code in 0..ENTRIES as u16 + 3 {
            journal.refused(code, "unauthorized", "token expired", None);
        }
        let kept = journal.refusals();
        assert_eq!((kept.len(), kept[0].code), (ENTRIES, 3));
    }
}
