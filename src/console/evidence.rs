//! What the instances know of a user and a group, added up.

use serde::{Deserialize, Serialize};

use crate::event::PossibleLoss;
use crate::group::GroupName;
use crate::hub::ReceiptReport;
use crate::layer::Surroundings;
use crate::telemetry::{Journal, NotedRefusal};

/// Refusals that one instance tells at most.
const MAX_REFUSALS: usize = 100;

/// What one instance knows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct EvidencePart {
    pub(super) receipt: ReceiptReport,
    pub(super) refusals: Vec<RefusalRow>,
    /// When a source of the group was found full, seconds since 1970.
    pub(super) overflows: Vec<u64>,
}

/// A browser that was refused at the door.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RefusalRow {
    /// Seconds since 1970.
    pub(super) at: u64,
    /// The close code.
    pub(super) code: u16,
    /// The label of the metric.
    pub(super) reason: String,
    /// As logged.
    pub(super) cause: String,
    /// The user whom its token claims.
    pub(super) claimed: Option<String>,
}

/// What all instances know.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    pub(super) sub: String,
    pub(super) group: Option<GroupName>,
    /// The time that is asked about, seconds since 1970.
    pub(super) at: Option<u64>,
    pub(super) receipt: ReceiptReport,
    /// Oldest first.
    pub(super) refusals: Vec<RefusalRow>,
    pub(super) overflows: Vec<u64>,
    pub(super) surroundings: Option<Surroundings>,
    /// Instances that did not answer in time.
    pub(super) silent: Vec<String>,
}

impl EvidencePart {
    /// What this instance knows besides its connections.
    pub(super) fn of(
        journal: &Journal,
        receipt: ReceiptReport,
        sub: &str,
        group: Option<&GroupName>,
    ) -> Self {
        let refusals = journal.refusals().into_iter().map(RefusalRow::from);
        let concerns = |it: &RefusalRow| it.is_of(sub) || it.is_by_hook();
        let mut refusals: Vec<_> = refusals.filter(concerns).collect();
        let surplus = refusals.len().saturating_sub(MAX_REFUSALS);
        refusals.drain(..surplus);
        let of_group = |loss: &PossibleLoss| match (loss, group) {
            (PossibleLoss::Share { number, of }, Some(group)) => group.share(*of) == *number,
            _ => false,
        };
        let losses = journal.losses().into_iter().filter(|it| of_group(&it.loss));
        Self { receipt, refusals, overflows: losses.map(|it| it.at).collect() }
    }
}

impl Evidence {
    /// Adds what one instance knows.
    pub(super) fn add(&mut self, part: EvidencePart) {
        self.receipt.add(part.receipt);
        self.refusals.extend(part.refusals);
        self.refusals.sort_by_key(|refusal| refusal.at);
        self.overflows.extend(part.overflows);
    }
}

impl RefusalRow {
    /// Whether its token claims to be this user's.
    pub(super) fn is_of(&self, sub: &str) -> bool {
        self.claimed.as_deref() == Some(sub)
    }

    /// Whether the connect hook refused it, or did not answer.
    pub(super) fn is_by_hook(&self) -> bool {
        self.claimed.is_none() && (self.cause.contains("connect hook") || self.reason == "backend")
    }
}

impl From<NotedRefusal> for RefusalRow {
    fn from(noted: NotedRefusal) -> Self {
        let NotedRefusal { at, code, reason, cause, claimed } = noted;
        Self { at, code, reason: reason.to_owned(), cause, claimed }
    }
}
