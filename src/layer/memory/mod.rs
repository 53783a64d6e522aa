//! The layer within one process, for a single instance.

mod once;
mod ring;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use parking_lot::{Mutex, MutexGuard, RwLock};

use super::fair_backlog::{Backlog, Permit};
use super::group_queues::{GroupQueues, QueueKey, Queued};
use super::history::{History, NUMBERING, Retention};
use super::{Inbox, Incoming, KeyedPublication, LayerError, OnceOutcome};
use crate::clock::unix_seconds;
use crate::event::{Control, Position, Publication, Recovery, Target};
use crate::group::{GroupName, MemberCounts};
use once::OnceTable;
use ring::Ring;

/// What the attached instances share. Tests attach several in one process.
#[derive(Debug)]
pub struct Broker {
    instances: RwLock<Vec<Backlog<Incoming>>>,
    member_counts: Arc<MemberCounts>,
    /// Longest wait of a publication that is accepted.
    max_wait: Duration,
    /// The instances subscribed to a group, one bit each.
    interest: DashMap<GroupName, u64>,
    history: History,
    /// The second at which it began: positions before any publication that are not younger are of
    /// another process.
    began: u64,
    rings: Mutex<HashMap<GroupName, Ring>>,
    /// Locked before `rings`.
    once: Mutex<OnceTable>,
}

/// One instance's handle to a [`Broker`].
#[derive(Debug, Clone)]
pub struct Memory {
    broker: Arc<Broker>,
    /// This instance's bit in [`Broker::interest`].
    index: u32,
}

/// Room for one message with each of several instances.
type Permits = Vec<Permit<Incoming>>;

/// Messages that may wait for the coordinator of one instance; a third of them of one group.
///
/// A message is at most one event (64 KiB by default). The coordinator is far faster than any
/// publisher, so usually none waits.
const MAX_MESSAGES: usize = 1024;

/// Bytes of those messages.
const MAX_BYTES: usize = 64 << 20;

/// Longest wait of what is accepted. A publication that would wait for longer is not accepted yet.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// New histories between two searches for expired ones.
const SWEEP: usize = 1024;

/// One whose instances may leave unread what they have room for, however long.
#[cfg(test)]
impl Default for Broker {
    fn default() -> Self {
        let mut broker = Self::with_history(History::default());
        broker.max_wait = Duration::MAX;
        broker
    }
}

impl Broker {
    /// A broker that keeps `history`.
    pub fn with_history(history: History) -> Self {
        Self {
            instances: RwLock::default(),
            member_counts: Arc::default(),
            max_wait: MAX_WAIT,
            interest: DashMap::new(),
            history,
            began: unix_seconds(),
            rings: Mutex::default(),
            once: Mutex::default(),
        }
    }

    /// Attaches one more instance.
    ///
    /// # Panics
    /// At the 65th: one process never holds so many.
    pub fn attach(self: &Arc<Self>) -> (Memory, Inbox) {
        let queues = GroupQueues::new(MAX_MESSAGES, MAX_BYTES).lossless();
        let queues = Backlog::new(queues.weighed_by(Arc::clone(&self.member_counts)));
        let mut instances = self.instances.write();
        let index = instances.len() as u32;
        assert!(index < u64::BITS, "at most 64 instances share a memory layer");
        instances.push(queues.clone());
        (Memory { broker: Arc::clone(self), index }, Inbox::of_queues(queues))
    }

    /// Queues of the instances in `wanted`, copied out so that no lock outlives the call.
    fn queues(&self, wanted: u64) -> Vec<Backlog<Incoming>> {
        let instances = self.instances.read();
        let chosen = instances.iter().enumerate().filter(|(i, _)| wanted & (1 << i) != 0);
        chosen.map(|(_, queues)| queues.clone()).collect()
    }

    /// Room for a publication with all `wanted` instances; given back if the future is dropped.
    async fn reserve(&self, wanted: u64, publication: &Publication) -> Permits {
        let queue = QueueKey::of(&publication.target);
        self.room(wanted, queue, publication.event.json().len(), self.max_wait).await
    }

    async fn room(
        &self,
        wanted: u64,
        queue: Option<QueueKey>,
        bytes: usize,
        max_wait: Duration,
    ) -> Permits {
        let mut permits = Permits::new();
        for queues in self.queues(wanted) {
            // An instance that has ended receives nothing more.
            permits.extend(queues.reserve(queue.clone(), bytes, max_wait).await);
        }
        permits
    }

    fn wanted(&self, group: &GroupName) -> u64 {
        self.interest.get(group).map_or(0, |bits| *bits)
    }

    /// Whether this is the epoch of a position before any publication, and no numbering can have
    /// ended between its second and `until`.
    fn is_complete(&self, epoch: &str, kept: Retention, until: u64) -> bool {
        let second = epoch.strip_prefix("0.0.").and_then(|second| second.parse::<u64>().ok());
        let numbered_for = (kept.ttl + NUMBERING).as_secs();
        second.is_some_and(|second| {
            second > self.began && until.saturating_sub(second) < numbered_for
        })
    }

    /// The answer for a group that nothing was published to.
    fn before_any(&self, since: Option<(&Position, bool)>) -> Recovery {
        if let Some((since @ Position { offset: 0, .. }, true)) = since {
            return Recovery::complete(since.clone(), since, Vec::new());
        }
        let epoch = format!("0.0.{}", unix_seconds().max(self.began + 1)).into();
        Recovery {
            position: Some(Position { epoch, offset: 0 }),
            recovered: since.map(|_| false),
            ..Recovery::default()
        }
    }

    fn rings(&self) -> MutexGuard<'_, HashMap<GroupName, Ring>> {
        self.rings.lock()
    }

    /// The instances that receive what is sent to `target`.
    fn receivers(&self, target: &Target) -> u64 {
        match target {
            Target::Group(group) => self.wanted(group),
            Target::User(_) | Target::Connection(_) | Target::All => u64::MAX,
        }
    }

    /// Sends to the instances `wanted`, with whom `permits` are. `Err` = more instances want it.
    ///
    /// Numbers and sends under one lock: every instance receives a group's publications in the
    /// order of their offsets, and after reading a position receives all that follow it.
    fn send(
        &self,
        permits: Permits,
        wanted: u64,
        publication: &Publication,
    ) -> Result<Option<Position>, u64> {
        let kept = match &publication.target {
            Target::Group(group) => self.history.of(group).map(|kept| (group, kept)),
            Target::User(_) | Target::Connection(_) | Target::All => None,
        };
        let Some((group, kept)) = kept else {
            send(permits, &Incoming::Publication(Arc::new(publication.clone())));
            return Ok(None);
        };
        let mut rings = self.rings();
        // An instance may have subscribed, and read the group's position, while this waited.
        let now_wanted = self.wanted(group);
        if now_wanted & !wanted != 0 {
            return Err(now_wanted);
        }
        let now = Instant::now();
        let ring = ring(&mut rings, group.clone(), kept, now);
        let publication = ring.append(publication.clone(), now);
        let position = publication.position.clone();
        send(permits, &Incoming::Publication(publication));
        Ok(position)
    }
}

/// Nothing more is sent.
impl Drop for Broker {
    fn drop(&mut self) {
        self.instances.get_mut().iter().for_each(Backlog::end);
    }
}

/// The history of `group`, created if there is none. Regularly removes expired ones.
fn ring(
    rings: &mut HashMap<GroupName, Ring>,
    group: GroupName,
    kept: Retention,
    now: Instant,
) -> &mut Ring {
    if rings.len() % SWEEP == SWEEP - 1 && !rings.contains_key(&group) {
        rings.retain(|_, ring| !ring.is_over(now));
    }
    rings.entry(group).or_insert_with(|| Ring::new(kept, now))
}

fn send(permits: Permits, message: &Incoming) {
    for permit in permits {
        permit.send(message.clone());
    }
}

impl Memory {
    pub(super) async fn publish(
        &self,
        publication: Publication,
    ) -> Result<Option<Position>, LayerError> {
        let mut wanted = self.broker.receivers(&publication.target);
        loop {
            let permits = self.broker.reserve(wanted, &publication).await;
            match self.broker.send(permits, wanted, &publication) {
                Ok(position) => return Ok(position),
                Err(more) => wanted = more,
            }
        }
    }

    /// Sends a publication once under its key. Dropping the future before it answers sends nothing
    /// and leaves no mark.
    pub(super) async fn publish_once(
        &self,
        KeyedPublication { publication, key }: &KeyedPublication,
        window: Duration,
    ) -> Result<OnceOutcome, LayerError> {
        let Some(key) = key else {
            let position = self.publish(publication.clone()).await?;
            return Ok(OnceOutcome::Sent { id: publication.id, position });
        };
        let mark = key.mark(&publication.target);
        let mut wanted = self.broker.receivers(&publication.target);
        loop {
            let known = self.broker.once.lock().outcome(key, mark, Instant::now());
            if let Some(known) = known {
                return Ok(known);
            }
            let permits = self.broker.reserve(wanted, publication).await;
            let mut once = self.broker.once.lock();
            let now = Instant::now();
            // Another may have sent it while this waited.
            if let Some(known) = once.outcome(key, mark, now) {
                return Ok(known);
            }
            match self.broker.send(permits, wanted, publication) {
                Ok(position) => {
                    let id = publication.id;
                    once.mark(key, mark, (id, position.clone()), window, now);
                    return Ok(OnceOutcome::Sent { id, position });
                }
                Err(more) => wanted = more,
            }
        }
    }

    pub(super) async fn control(&self, control: Control) -> Result<(), LayerError> {
        // Nothing is lost or late here, so no command needs a stamp.
        let command = Incoming::Control(control, None);
        let bytes = command.bytes().unwrap_or_default();
        // It waits for room, however long others wait: a flood must not keep it back.
        let permits = self.broker.room(u64::MAX, command.queue(), bytes, Duration::MAX).await;
        send(permits, &command);
        Ok(())
    }

    pub(super) fn history(&self) -> &History {
        &self.broker.history
    }

    pub(super) fn member_counts(&self) -> Arc<MemberCounts> {
        Arc::clone(&self.broker.member_counts)
    }

    pub(super) fn subscribe(&self, groups: &[GroupName]) {
        for group in groups {
            *self.broker.interest.entry(group.clone()).or_insert(0) |= 1 << self.index;
        }
    }

    pub(super) fn unsubscribe(&self, groups: &[GroupName]) {
        for group in groups {
            if let Some(mut bits) = self.broker.interest.get_mut(group) {
                *bits &= !(1 << self.index);
            }
            self.broker.interest.remove_if(group, |_, bits| *bits == 0);
        }
    }

    pub(super) fn recover(&self, asked: &[(GroupName, Option<Position>)]) -> Vec<Recovery> {
        let now = Instant::now();
        let answer = |(group, since): &(GroupName, Option<Position>)| {
            let Some(kept) = self.broker.history.of(group) else {
                return Recovery::without_history(since.as_ref());
            };
            let since = since.as_ref();
            let mut rings = self.broker.rings();
            let ring = rings.get_mut(group);
            let until = ring.as_ref().map_or_else(unix_seconds, |ring| ring.began);
            let is_complete =
                since.is_some_and(|since| self.broker.is_complete(&since.epoch, kept, until));
            match ring {
                Some(ring) => ring.recover(since, is_complete, now),
                None => self.broker.before_any(since.map(|since| (since, is_complete))),
            }
        };
        asked.iter().map(answer).collect()
    }
}
