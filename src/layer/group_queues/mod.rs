//! Queues of messages on their way to the hub: one for each group, which take turns.
//!
//! A flood may not delay other groups, nor cost them a message. A group that fills its share loses
//! what comes until most of it is free again: one gap for many messages. A group with nothing to
//! wait for, as most have, comes before those that wait anyway.
//!
//! What concerns more than one group ends a *section*: commands, broadcasts, and gaps of all groups
//! come after everything before them and before everything behind them.

mod load;
mod section;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use load::QueueLoad;
pub(super) use section::{BucketSalt, QueueKey};
use section::{QueueEntry, Section};

use crate::group::MemberCounts;

/// Longest wait of what ends a section. Then floods in front of it lose what they have: an event
/// may be lost and reported, a command may be neither lost nor late.
const END_PATIENCE: Duration = Duration::from_millis(100);

/// Messages of one queue in front of an overdue end that are no flood.
const NO_FLOOD: usize = 64;

/// All queues.
#[derive(Debug)]
pub(super) struct GroupQueues<T> {
    member_counts: Arc<MemberCounts>,
    /// Whether what was taken may be lost to make room for an overdue end.
    may_shed: bool,
    max_messages: usize,
    max_bytes: usize,
    /// In order; never empty. All but the last are ended.
    sections: VecDeque<Section<T>>,
    /// What each queue has in all sections, while it has anything.
    loads: HashMap<QueueKey, QueueLoad>,
    /// What the ends of sections have.
    ends: QueueLoad,
    /// All messages, those at ends among them.
    messages: usize,
    bytes: usize,
}

/// What can be queued.
pub(super) trait Queued: Sized {
    /// The bytes of a message; `None` = a mark, which takes no room.
    fn bytes(&self) -> Option<usize>;

    /// The mark of so many messages for everybody that were lost here.
    fn loss_of_all(count: u64) -> Self;

    /// Takes in what follows directly, if both are such marks; otherwise returns it.
    fn merge(&mut self, next: Self) -> Option<Self>;
}

/// The next in the order of turns.
#[derive(Debug)]
pub(super) enum Next<T> {
    Entry(T),
    /// So many messages of the queue were lost here.
    Lost(QueueKey, u64),
}

impl<T: Queued> GroupQueues<T> {
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            member_counts: Arc::default(),
            may_shed: true,
            max_messages,
            max_bytes,
            sections: VecDeque::from([Section::default()]),
            loads: HashMap::new(),
            ends: QueueLoad::default(),
            messages: 0,
            bytes: 0,
        }
    }

    /// Takes turns by the members of groups, too.
    pub(super) fn weighed_by(self, member_counts: Arc<MemberCounts>) -> Self {
        Self { member_counts, ..self }
    }

    /// Loses nothing that room was [reserved](Self::reserve) for, however late.
    pub(super) fn lossless(self) -> Self {
        Self { may_shed: false, ..self }
    }

    /// Members of large groups.
    pub(super) fn member_counts(&self) -> &Arc<MemberCounts> {
        &self.member_counts
    }

    /// Takes room for a message that will follow, if there is any, and if the message would not
    /// wait for longer than `max_wait`.
    pub(super) fn reserve(
        &mut self,
        queue: Option<&QueueKey>,
        bytes: usize,
        max_wait: Duration,
    ) -> bool {
        if self.wait_of(queue, 0) > max_wait {
            return false;
        }
        let free = self.free();
        let load = match queue {
            Some(queue) => self.loads.entry(queue.clone()).or_default(),
            None => &mut self.ends,
        };
        if !load.has_room(bytes, free) {
            queue.into_iter().for_each(|queue| self.forget_if_empty(queue));
            return false;
        }
        load.add(bytes);
        self.messages += 1;
        self.bytes += bytes;
        true
    }

    /// Adds the message that room was reserved for.
    pub(super) fn fill(&mut self, queue: Option<QueueKey>, bytes: usize, entry: T) {
        let since = Instant::now();
        match queue {
            Some(queue) => self.last().push(queue, QueueEntry::Message { entry, bytes, since }),
            None => self.push_end(entry),
        }
    }

    /// Gives back reserved room.
    pub(super) fn cancel(&mut self, queue: Option<&QueueKey>, bytes: usize) {
        self.messages -= 1;
        self.bytes -= bytes;
        match queue {
            None => self.ends.shed(1, bytes),
            Some(queue) => {
                if let Some(load) = self.loads.get_mut(queue) {
                    load.shed(1, bytes);
                }
                self.forget_if_empty(queue);
            }
        }
    }

    /// Adds a message to a queue, or to all if it has none. Without room it becomes a loss.
    pub(super) fn push(&mut self, queue: Option<QueueKey>, entry: T) {
        match (queue, entry.bytes()) {
            (Some(queue), Some(bytes)) => self.push_message(queue, bytes, entry),
            (_, bytes) => self.end_section(bytes, entry),
        }
    }

    fn push_message(&mut self, queue: QueueKey, bytes: usize, entry: T) {
        let free = self.free();
        let load = self.loads.entry(queue.clone()).or_default();
        if !load.admits(bytes, free) {
            self.last().lose(queue, 1);
            return;
        }
        load.add(bytes);
        self.messages += 1;
        self.bytes += bytes;
        self.last().push(queue, QueueEntry::Message { entry, bytes, since: Instant::now() });
    }

    fn end_section(&mut self, bytes: Option<usize>, end: T) {
        let free = self.free();
        if let Some(bytes) = bytes {
            if !self.ends.admits(bytes, free) {
                return self.end_section(None, T::loss_of_all(1));
            }
            self.ends.add(bytes);
            self.messages += 1;
            self.bytes += bytes;
        }
        self.push_end(end);
    }

    fn push_end(&mut self, end: T) {
        let end = match self.end_before() {
            Some(before) => before.merge(end),
            None => Some(end),
        };
        if let Some(end) = end {
            self.last().end = Some((end, Instant::now()));
            self.sections.push_back(Section::default());
        }
    }

    /// The newest end, if nothing follows it.
    fn end_before(&mut self) -> Option<&mut T> {
        let at = self.sections.len().checked_sub(2)?;
        if !self.sections[at + 1].is_empty() {
            return None;
        }
        self.sections[at].end.as_mut().map(|(end, _)| end)
    }

    /// The next entry in the order of turns.
    pub(super) fn pop(&mut self) -> Option<Next<T>> {
        self.shed_before_overdue_end();
        let section = self.sections.front_mut()?;
        let Some((queue, entry)) = section.pop(&mut self.loads, &self.member_counts) else {
            let (end, since) = section.end.take()?;
            self.sections.pop_front();
            if let Some(bytes) = end.bytes() {
                self.ends.remove(bytes, since);
                self.messages -= 1;
                self.bytes -= bytes;
            }
            return Some(Next::Entry(end));
        };
        Some(match entry {
            QueueEntry::Message { entry, bytes, since } => {
                self.give_back(&queue, bytes, since);
                Next::Entry(entry)
            }
            QueueEntry::Lost(count) => {
                self.forget_if_empty(&queue);
                Next::Lost(queue, count)
            }
        })
    }

    fn give_back(&mut self, queue: &QueueKey, bytes: usize, since: Instant) {
        self.messages -= 1;
        self.bytes -= bytes;
        if let Some(load) = self.loads.get_mut(queue) {
            load.remove(bytes, since);
        }
        self.forget_if_empty(queue);
    }

    fn forget_if_empty(&mut self, queue: &QueueKey) {
        if self.loads.get(queue).is_some_and(|load| load.messages == 0) {
            self.loads.remove(queue);
        }
    }

    /// Drops what floods have in front of an end that has waited for too long.
    fn shed_before_overdue_end(&mut self) {
        let Some(section) = self.sections.front_mut().filter(|_| self.may_shed) else { return };
        if section.end.as_ref().is_none_or(|(_, since)| since.elapsed() < END_PATIENCE) {
            return;
        }
        for (queue, messages, bytes) in section.shed_more_than(NO_FLOOD) {
            self.messages -= messages;
            self.bytes -= bytes;
            if let Some(load) = self.loads.get_mut(&queue) {
                load.shed(messages, bytes);
            }
        }
    }

    /// How long `count` more messages of the queue would wait, as far as can be foreseen; without a
    /// queue, those for everybody.
    pub(super) fn wait_of(&self, queue: Option<&QueueKey>, count: usize) -> Duration {
        let end = self.sections.front().and_then(|section| section.end.as_ref());
        let for_end = end.map_or(Duration::ZERO, |(_, since)| since.elapsed());
        let load = match queue {
            Some(queue) => self.loads.get(queue),
            None => self.loads.values().chain([&self.ends]).max_by_key(|load| load.wait(0)),
        };
        load.map_or(Duration::ZERO, |load| load.wait(count)).max(for_end)
    }

    /// The queues that would make one more wait for longer than `over`, the slowest first, at most
    /// so many; `None` = what concerns everybody.
    pub(super) fn late(&self, over: Duration, most: usize) -> Vec<(Option<QueueKey>, Duration)> {
        let everybody = (None, self.wait_of(None, 0));
        if everybody.1 <= over {
            return Vec::new();
        }
        let queues = self.loads.keys().map(|key| (Some(key.clone()), self.wait_of(Some(key), 0)));
        let mut late: Vec<_> = queues.filter(|(_, wait)| *wait > over).collect();
        late.sort_by_key(|(_, wait)| std::cmp::Reverse(*wait));
        late.truncate(most);
        late.push(everybody);
        late
    }

    fn free(&self) -> (usize, usize) {
        let free = |max: usize, used: usize| max.saturating_sub(used);
        (free(self.max_messages, self.messages), free(self.max_bytes, self.bytes))
    }

    fn last(&mut self) -> &mut Section<T> {
        self.sections.back_mut().expect("there is always a section")
    }
}
