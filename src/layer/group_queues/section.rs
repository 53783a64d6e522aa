//! The messages between two that concern everybody, by queue.

use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;

use super::load::QueueLoad;
use crate::event::Target;
use crate::group::{GroupName, MemberCounts};

/// Weight that a queue gains in one turn. A message of up to 768 bytes takes one turn.
const WEIGHT_OF_TURN: i64 = 1024;

/// Weight of a message besides its bytes.
const WEIGHT_OF_MESSAGE: i64 = 256;

/// Members whose frames take about as long as all else that is done for a message.
const MEMBERS_PER_WEIGHT: i64 = 4;

/// Turns of queues that have just come before one that waits has its turn.
const NEW_BEFORE_WAITING: usize = 16;

/// Whose queue it is. What has none concerns everybody.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::layer) enum QueueKey {
    Group(GroupName),
    /// Some of the users, in order: those of one bucket, so that few queues do for any number.
    Users(u8),
    /// Connections of this instance, in order, and the instance itself.
    Instance,
}

/// Queues of users. A flood to one user delays one in so many others.
const USER_BUCKETS: u8 = 64;

/// Decides which users share a bucket. Other instances alone know it: nobody can choose a name to
/// delay another.
pub(in crate::layer) type BucketSalt = [u8; 8];

static SALT: LazyLock<BucketSalt> = LazyLock::new(|| {
    let mut salt = BucketSalt::default();
    rand::fill(&mut salt).expect("the operating system has random bytes");
    salt
});

impl QueueKey {
    /// The queue of this user.
    pub(in crate::layer) fn of_user(sub: &[u8]) -> Self {
        Self::of_user_salted(sub, &SALT)
    }

    /// The queue of this user on the instance that has this salt.
    pub(in crate::layer) fn of_user_salted(sub: &[u8], salt: &BucketSalt) -> Self {
        let hash = digest(&SHA256, &[salt, sub].concat());
        Self::Users(hash.as_ref()[0] % USER_BUCKETS)
    }

    /// The queue of what is sent to `target`; `None` = everybody.
    pub(in crate::layer) fn of(target: &Target) -> Option<Self> {
        match target {
            Target::Group(group) => Some(Self::Group(group.clone())),
            Target::User(sub) => Some(Self::of_user(sub.as_bytes())),
            Target::Connection(_) => Some(Self::Instance),
            Target::All => None,
        }
    }

    /// The salt of this instance.
    pub(in crate::layer) fn salt() -> BucketSalt {
        *SALT
    }
}

#[derive(Debug)]
pub(super) struct Section<T> {
    queues: HashMap<QueueKey, VecDeque<QueueEntry<T>>>,
    /// Queues that have had no turn yet, the next one first. They come before those that have.
    new: VecDeque<QueueKey>,
    /// The other queues with entries.
    waiting: VecDeque<QueueKey>,
    /// Turns of new queues since one that waits had its turn.
    new_turns: usize,
    /// Whose turn it is.
    current: Option<QueueKey>,
    /// What follows these messages, and when it came; `None` = it is the last section.
    pub(super) end: Option<(T, Instant)>,
}

#[derive(Debug)]
pub(super) enum QueueEntry<T> {
    Message {
        entry: T,
        bytes: usize,
        since: Instant,
    },
    /// So many messages were lost here.
    Lost(u64),
}

impl<T> Default for Section<T> {
    fn default() -> Self {
        Self {
            queues: HashMap::new(),
            new: VecDeque::new(),
            waiting: VecDeque::new(),
            new_turns: 0,
            current: None,
            end: None,
        }
    }
}

impl<T> Section<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    pub(super) fn push(&mut self, queue: QueueKey, entry: QueueEntry<T>) {
        let entries = self.queues.entry(queue.clone()).or_default();
        if entries.is_empty() {
            self.new.push_back(queue);
        }
        entries.push_back(entry);
    }

    /// Marks a loss at the end of a queue. Losses that follow each other are one.
    pub(super) fn lose(&mut self, queue: QueueKey, count: u64) {
        match self.queues.get_mut(&queue).and_then(VecDeque::back_mut) {
            Some(QueueEntry::Lost(lost)) => *lost += count,
            _ => self.push(queue, QueueEntry::Lost(count)),
        }
    }

    /// The next entry in the order of turns.
    pub(super) fn pop(
        &mut self,
        loads: &mut HashMap<QueueKey, QueueLoad>,
        counts: &MemberCounts,
    ) -> Option<(QueueKey, QueueEntry<T>)> {
        let mut passed = 0;
        loop {
            let (queue, gained) = match self.current.take() {
                Some(queue) => (queue, 0),
                None => (self.begin_turn()?, WEIGHT_OF_TURN),
            };
            let load = loads.entry(queue.clone()).or_default();
            load.credit += gained;
            let is_alone = self.queues.len() == 1;
            if load.credit <= 0 && !is_alone {
                self.waiting.push_back(queue);
                passed += 1;
                if passed == self.queues.len() {
                    self.skip_turns(loads);
                }
                continue;
            }
            let entries = self.queues.get_mut(&queue)?;
            let entry = entries.pop_front()?;
            if let QueueEntry::Message { bytes, .. } = &entry {
                load.credit -= weight(&queue, *bytes, counts);
            }
            if entries.is_empty() {
                self.queues.remove(&queue);
                load.credit = 0;
            } else if load.credit > 0 {
                self.current = Some(queue.clone());
            } else {
                // Alone it owes nobody.
                load.credit = if is_alone { 0 } else { load.credit };
                self.waiting.push_back(queue.clone());
            }
            return Some((queue, entry));
        }
    }

    /// Turns in which every queue would only gain weight take no time.
    fn skip_turns(&self, loads: &mut HashMap<QueueKey, QueueLoad>) {
        let credit = |queue| loads.get(queue).map_or(0, |load| load.credit);
        let turns = -self.waiting.iter().map(credit).max().unwrap_or(0) / WEIGHT_OF_TURN;
        for queue in self.waiting.iter().filter(|_| turns > 0) {
            if let Some(load) = loads.get_mut(queue) {
                load.credit += turns * WEIGHT_OF_TURN;
            }
        }
    }

    /// A group that seldom has anything does not wait for all that have much.
    fn begin_turn(&mut self) -> Option<QueueKey> {
        let waits_for_long = self.new_turns >= NEW_BEFORE_WAITING && !self.waiting.is_empty();
        if !waits_for_long && let Some(queue) = self.new.pop_front() {
            self.new_turns += 1;
            return Some(queue);
        }
        self.new_turns = 0;
        self.waiting.pop_front()
    }

    /// Replaces the messages of each queue that has more than `most` by one loss. Returns the
    /// queues, and how many messages and bytes they had.
    pub(super) fn shed_more_than(&mut self, most: usize) -> Vec<(QueueKey, usize, usize)> {
        let mut shed = Vec::new();
        for (queue, entries) in self.queues.iter_mut().filter(|(_, it)| it.len() > most) {
            let (mut messages, mut length, mut lost) = (0, 0, 0);
            for entry in entries.iter() {
                match entry {
                    QueueEntry::Message { bytes, .. } => {
                        messages += 1;
                        length += bytes;
                    }
                    QueueEntry::Lost(count) => lost += count,
                }
            }
            *entries = VecDeque::from([QueueEntry::Lost(lost + messages as u64)]);
            shed.push((queue.clone(), messages, length));
        }
        shed
    }
}

/// What a message of the queue takes from its turns.
fn weight(queue: &QueueKey, bytes: usize, counts: &MemberCounts) -> i64 {
    let members = match queue {
        QueueKey::Group(group) => counts.of(group),
        QueueKey::Users(_) | QueueKey::Instance => 0,
    };
    (bytes as i64 + WEIGHT_OF_MESSAGE) * (1 + members as i64 / MEMBERS_PER_WEIGHT)
}
