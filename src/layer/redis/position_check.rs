//! Checks the positions that messages claim: one that skips is looked up in Redis.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::history_store::HistoryStore;
use super::known_positions::Claim;
use crate::event::{Position, Publication, Target};
use crate::group::GroupName;
use crate::layer::Loss;
use crate::telemetry::LogLimit;

/// Longest wait for Redis, in which the messages of the group wait.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// Least time between two heartbeats that are wanted because of a newer generation.
const WANT_INTERVAL: Duration = Duration::from_secs(1);

/// Groups that are looked up at once. A message of a further one is discarded, and read from the
/// history a second later if it was genuine.
const MAX_LOOK_UPS: usize = 64;

/// Messages of a group that wait for the answer about one of them.
const MAX_HELD: usize = 1024;

/// Checks the positions of one instance's messages. Those of a group wait while it is looked up;
/// others pass.
pub(super) struct PositionCheck {
    histories: Arc<HistoryStore>,
    log: LogLimit,
    /// When a heartbeat was last wanted because of a newer generation.
    wanted: Option<Instant>,
    /// The messages of each group that is looked up: the first is the one in question.
    held: HashMap<GroupName, VecDeque<Publication>>,
    look_ups: FuturesUnordered<LookUp>,
}

/// Asks Redis about a message of a group.
type LookUp = Pin<Box<dyn Future<Output = (GroupName, Claim)> + Send>>;

impl HistoryStore {
    /// Messages of these groups arrive from now on.
    pub(super) fn subscribed(&self, groups: &[GroupName]) {
        self.known.subscribed(groups.iter().filter(|group| self.of(group).is_some()));
    }

    /// The position of a group as Redis knows it, and those of others in doubt.
    async fn look_up(&self, group: &GroupName, at: &Position, asked: Vec<GroupName>) -> Claim {
        let asked: Vec<_> = asked.into_iter().map(|group| (group, None)).collect();
        let answers = timeout(MAX_WAIT, self.recover(&asked)).await;
        let answer = answers.ok().and_then(|mut answers| answers.swap_remove(0).ok());
        let Some(answer) = answer.and_then(|recovery| recovery.position) else {
            self.known.owe(group, Instant::now());
            return Claim::Unknown;
        };
        if answer.epoch != at.epoch {
            // Its epoch may have ended since it was sent.
            self.known.owe(group, Instant::now());
        }
        self.known.judge_by(group, at, &answer)
    }

    /// The groups to ask about, or nothing if this one was asked about too recently.
    fn ask_about(&self, group: &GroupName, at: &Position) -> Option<Vec<GroupName>> {
        let now = Instant::now();
        let asked = self.known.ask(group, self.redis_health.generation(), now);
        if asked.is_empty() {
            // Offsets skip only after a loss, which is announced: one ahead is not genuine.
            if !self.known.is_ahead(group, at) {
                self.known.owe(group, now);
            }
            return None;
        }
        Some(asked)
    }

    /// Another instance may have noticed first that Redis has another generation. Without asking,
    /// what it publishes would be discarded until the next heartbeat.
    async fn learn_generation(&self) {
        let health = &self.redis_health;
        let now = Instant::now();
        let mut heartbeats = health.heartbeats();
        health.want_heartbeat();
        let answered =
            async { while !health.is_known_since(now) && heartbeats.changed().await.is_ok() {} };
        // Without an answer in time the message is discarded.
        let _ = timeout(MAX_WAIT, answered).await;
    }
}

impl PositionCheck {
    pub(super) fn new(histories: Arc<HistoryStore>) -> Self {
        Self {
            histories,
            log: LogLimit::default(),
            wanted: None,
            held: HashMap::new(),
            look_ups: FuturesUnordered::new(),
        }
    }

    /// Takes a message. Returns it if it may be passed on now; it may have to wait, or be
    /// discarded. A genuine one is read from the history then, after [`PositionCheck::take_owed`].
    pub(super) fn take(&mut self, publication: Publication) -> Option<Publication> {
        let (Target::Group(group), Some(at)) = (&publication.target, &publication.position) else {
            return Some(publication);
        };
        if let Some(held) = self.held.get_mut(group) {
            if held.len() < MAX_HELD {
                held.push_back(publication);
                return None;
            }
            self.histories.known.owe(group, Instant::now());
            return self.settle(publication, Claim::Discarded);
        }
        match self.histories.known.judge(group, at, publication.id) {
            Claim::Unknown => {
                let (group, at) = (group.clone(), at.clone());
                match self.begin_look_up(&group, at) {
                    true => {
                        self.held.insert(group, VecDeque::from([publication]));
                        None
                    }
                    false => self.settle(publication, Claim::Unknown),
                }
            }
            claim => self.settle(publication, claim),
        }
    }

    /// Whether messages wait for Redis.
    pub(super) fn is_waiting(&self) -> bool {
        !self.look_ups.is_empty()
    }

    /// Waits for the next answer. Returns the messages of its group that may be passed on. Nothing
    /// is lost if the future is dropped.
    pub(super) async fn answered(&mut self) -> Vec<Publication> {
        let Some((group, claim)) = self.look_ups.next().await else { return Vec::new() };
        let mut held = self.held.remove(&group).unwrap_or_default();
        let first = held.pop_front().and_then(|it| self.settle(it, claim));
        let mut passed = Vec::from_iter(first);
        // If one of them is looked up, the rest wait behind it.
        passed.extend(held.into_iter().filter_map(|it| self.take(it)));
        passed
    }

    /// The message as this claim allows.
    fn settle(&mut self, publication: Publication, claim: Claim) -> Option<Publication> {
        match claim {
            Claim::Follows => Some(publication),
            Claim::WithoutPosition => Some(Publication { position: None, ..publication }),
            Claim::Unknown | Claim::Discarded => {
                self.histories.redis_health.count_unreadable();
                if self.log.allows() {
                    let Publication { target, position, .. } = &publication;
                    tracing::warn!(
                        ?target,
                        ?position,
                        "message discarded: redis has not confirmed its position"
                    );
                }
                None
            }
        }
    }

    /// Whether Redis is asked about this position.
    fn begin_look_up(&mut self, group: &GroupName, at: Position) -> bool {
        if self.look_ups.len() >= MAX_LOOK_UPS {
            self.histories.known.owe(group, Instant::now());
            return false;
        }
        let (group, histories) = (group.clone(), Arc::clone(&self.histories));
        if self.wants_generation(&at) {
            self.look_ups.push(Box::pin(async move {
                histories.learn_generation().await;
                let claim = match histories.ask_about(&group, &at) {
                    Some(asked) => histories.look_up(&group, &at, asked).await,
                    None => Claim::Unknown,
                };
                (group, claim)
            }));
            return true;
        }
        let Some(asked) = histories.ask_about(&group, &at) else { return false };
        self.look_ups.push(Box::pin(async move {
            let claim = histories.look_up(&group, &at, asked).await;
            (group, claim)
        }));
        true
    }

    /// Whether a position is of a generation that is not known yet, and that is to be asked about.
    fn wants_generation(&mut self, at: &Position) -> bool {
        let now = Instant::now();
        let is_early = self.wanted.is_some_and(|wanted| now < wanted + WANT_INTERVAL);
        let known = self.histories.redis_health.generation();
        if is_early || at.generation().is_none_or(|of| of <= known) {
            return false;
        }
        self.wanted = Some(now);
        true
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
