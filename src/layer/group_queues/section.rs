//! The messages between two that concern everybody, by queue.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::time::Instant;

use super::load::QueueLoad;
use crate::group::GroupName;

/// Weight that a queue gains in one turn. A message of up to 768 bytes takes one turn.
const WEIGHT_OF_TURN: i64 = 1024;

/// Weight of a message besides its bytes.
const WEIGHT_OF_MESSAGE: i64 = 256;

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
const USER_BUCKETS: u64 = 64;

/// Which users share a bucket is unknown outside: nobody can choose a name to delay another.
static BUCKETS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl QueueKey {
    /// The queue of this user.
    pub(in crate::layer) fn of_user(sub: &[u8]) -> Self {
        Self::Users((BUCKETS.hash_one(sub) % USER_BUCKETS) as u8)
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
    ) -> Option<(QueueKey, QueueEntry<T>)> {
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
                continue;
            }
            let entries = self.queues.get_mut(&queue)?;
            let entry = entries.pop_front()?;
            if let QueueEntry::Message { bytes, .. } = &entry {
                load.credit -= *bytes as i64 + WEIGHT_OF_MESSAGE;
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
