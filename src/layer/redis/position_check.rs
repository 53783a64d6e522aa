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

/// Least time between two heartbeats that are wanted because of a newer generation.
const WANT_INTERVAL: Duration = Duration::from_secs(1);

/// Checks the positions of one instance's messages.
pub(super) struct PositionCheck {
    histories: Arc<HistoryStore>,
    log: LogLimit,
    /// When a heartbeat was last wanted because of a newer generation.
    wanted: Option<Instant>,
}

impl HistoryStore {
    /// Messages of these groups arrive from now on.
    pub(super) fn subscribed(&self, groups: &[GroupName]) {
        self.known.subscribed(groups.iter().filter(|group| self.of(group).is_some()));
    }
}

impl PositionCheck {
    pub(super) fn new(histories: Arc<HistoryStore>) -> Self {
        Self { histories, log: LogLimit::default(), wanted: None }
    }

    /// The publication as it may be passed on; `None` = it is discarded. A genuine one is read from
    /// the history then, after [`PositionCheck::take_owed`].
    pub(super) async fn check(&mut self, publication: Publication) -> Option<Publication> {
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

    /// Another instance may have noticed first that Redis has another generation. Without asking,
    /// what it publishes would be discarded until the next heartbeat.
    async fn learn_generation(&mut self, at: &Position) {
        let health = &self.histories.redis_health;
        let now = Instant::now();
        let is_early = self.wanted.is_some_and(|wanted| now < wanted + WANT_INTERVAL);
        if is_early || at.generation().is_none_or(|of| of <= health.generation()) {
            return;
        }
        self.wanted = Some(now);
        let mut heartbeats = health.heartbeats();
        health.want_heartbeat();
        let answered =
            async { while !health.is_known_since(now) && heartbeats.changed().await.is_ok() {} };
        // Without an answer in time the message is discarded.
        let _ = timeout(MAX_WAIT, answered).await;
    }

    async fn look_up(&mut self, group: &GroupName, at: &Position) -> Claim {
        self.learn_generation(at).await;
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
