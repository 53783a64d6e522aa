//! Checks the positions that messages claim: one that skips is looked up in Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::history_store::HistoryStore;
use super::known_positions::Claim;
use crate::event::{Position, Publication, Target};
use crate::group::GroupName;
use crate::layer::Loss;
use crate::telemetry::LogLimit;

/// Longest wait for Redis, in which all messages wait.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// Checks the positions of one instance's messages.
pub(super) struct PositionCheck {
    histories: Arc<HistoryStore>,
    log: LogLimit,
}

impl HistoryStore {
    /// Messages of these groups arrive from now on.
    pub(super) fn subscribed(&self, groups: &[GroupName]) {
        self.known.subscribed(groups.iter().filter(|group| self.of(group).is_some()));
    }
}

impl PositionCheck {
    pub(super) fn new(histories: Arc<HistoryStore>) -> Self {
        Self { histories, log: LogLimit::default() }
    }

    /// The publication as it may be passed on; `None` = it is discarded. A genuine one is read from
    /// the history then, after [`PositionCheck::take_owed`].
    pub(super) async fn check(&self, publication: Publication) -> Option<Publication> {
        let (Target::Group(group), Some(at)) = (&publication.target, &publication.position) else {
            return Some(publication);
        };
        let mut claim = self.histories.known.judge(group, at, publication.id);
        if claim == Claim::Unknown {
            claim = self.look_up(group, at).await;
        }
        match claim {
            Claim::Follows => Some(publication),
            Claim::WithoutPosition => Some(Publication { position: None, ..publication }),
            Claim::Unknown | Claim::Discarded => {
                self.histories.redis_health.count_unreadable();
                if self.log.allows() {
                    tracing::warn!(
                        %group,
                        epoch = %at.epoch,
                        offset = at.offset,
                        "message discarded: redis has not confirmed its position"
                    );
                }
                None
            }
        }
    }

    async fn look_up(&self, group: &GroupName, at: &Position) -> Claim {
        let (known, now) = (&self.histories.known, Instant::now());
        let asked = known.ask(group, self.histories.redis_health.generation(), now);
        if asked.is_empty() {
            // Offsets skip only after a loss, which is announced: one ahead is not genuine.
            if !known.is_ahead(group, at) {
                known.owe(group, now);
            }
            return Claim::Unknown;
        }
        let asked: Vec<_> = asked.into_iter().map(|group| (group, None)).collect();
        let answers = timeout(MAX_WAIT, self.histories.recover(&asked)).await;
        let answer = answers.ok().and_then(|mut answers| answers.swap_remove(0).ok());
        let answer = answer.and_then(|recovery| recovery.position);
        let Some(answer) = answer else {
            known.owe(group, now);
            return Claim::Unknown;
        };
        if answer.epoch != at.epoch {
            // Its epoch may have ended since it was sent.
            known.owe(group, now);
        }
        known.judge_by(group, at, &answer)
    }

    /// So many messages were lost, as far as they could be counted: later ones skip some.
    pub(super) fn lost(&self, loss: &Loss, count: u64) {
        match loss {
            Loss::All => self.histories.known.doubt_all(),
            Loss::Groups(groups) => self.histories.known.skip(groups, count),
            Loss::Possible(_) => {}
        }
    }

    /// The loss of messages that were discarded although they may be genuine, if any is due.
    pub(super) fn take_owed(&self) -> Option<Loss> {
        self.histories.known.take_owed(Instant::now()).map(Loss::Groups)
    }
}
