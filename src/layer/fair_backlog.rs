//! The queue in front of the hub. Groups take turns in it: a flood delays and costs only its own.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::group_queues::{GroupQueues, Next, QueueKey, Queued};
use crate::group::MemberCounts;

/// Both ends of the backlog. Clones share it.
#[derive(Debug)]
pub(super) struct Backlog<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    queues: Mutex<GroupQueues<T>>,
    /// Notified when the backlog may have an entry; one task alone waits for it.
    filled: Notify,
    /// Notified when there may be room, for those who wait for it.
    freed: Notify,
    /// Whether one end has gone.
    ended: AtomicBool,
}

/// Room for one message, given back if that does not follow.
#[derive(Debug)]
pub(super) struct Permit<T: Queued> {
    backlog: Backlog<T>,
    queue: Option<QueueKey>,
    bytes: usize,
    is_used: bool,
}

impl<T: Queued> Backlog<T> {
    pub(super) fn new(queues: GroupQueues<T>) -> Self {
        Self(Arc::new(Shared {
            queues: Mutex::new(queues),
            filled: Notify::new(),
            freed: Notify::new(),
            ended: AtomicBool::new(false),
        }))
    }

    /// Adds an entry without waiting, to a queue or to all.
    pub(super) fn push(&self, queue: Option<QueueKey>, entry: T) {
        self.0.queues.lock().push(queue, entry);
        self.0.filled.notify_one();
    }

    /// Waits for room, and until a message of the queue would not wait for longer than `max_wait`.
    /// `None` = nobody will take it.
    pub(super) async fn reserve(
        &self,
        queue: Option<QueueKey>,
        bytes: usize,
        max_wait: Duration,
    ) -> Option<Permit<T>> {
        loop {
            let mut freed = pin!(self.0.freed.notified());
            freed.as_mut().enable();
            if self.has_ended() {
                return None;
            }
            let has_room = self.0.queues.lock().reserve(queue.as_ref(), bytes, max_wait);
            if has_room {
                return Some(Permit { backlog: self.clone(), queue, bytes, is_used: false });
            }
            freed.await;
        }
    }

    /// The next entry, in the order of turns; `None` = one end has gone, and nothing is left.
    pub(super) async fn next(&self) -> Option<Next<T>> {
        loop {
            self.freed();
            let next = self.try_next();
            if next.is_some() || self.has_ended() {
                return next;
            }
            self.0.filled.notified().await;
        }
    }

    /// The next entry, if there is one. Who waits for room is told by [`Backlog::freed`].
    pub(super) fn try_next(&self) -> Option<Next<T>> {
        self.0.queues.lock().pop()
    }

    /// Entries were taken.
    pub(super) fn freed(&self) {
        self.0.freed.notify_waiters();
    }

    /// Either end goes: nobody waits any more.
    pub(super) fn end(&self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.filled.notify_one();
        self.freed();
    }

    fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
    }

    /// How long `count` more messages of the queue would wait, as far as can be foreseen; without a
    /// queue, those for everybody.
    pub(super) fn wait_of(&self, queue: Option<&QueueKey>, count: usize) -> Duration {
        self.0.queues.lock().wait_of(queue, count)
    }

    /// The queues that would make one more wait for longer than `over`, at most so many.
    pub(super) fn late(&self, over: Duration, most: usize) -> Vec<(Option<QueueKey>, Duration)> {
        self.0.queues.lock().late(over, most)
    }

    /// Members of large groups.
    pub(super) fn member_counts(&self) -> Arc<MemberCounts> {
        Arc::clone(self.0.queues.lock().member_counts())
    }
}

impl<T: Queued> Permit<T> {
    /// Adds the message.
    pub(super) fn send(mut self, entry: T) {
        self.is_used = true;
        let shared = &self.backlog.0;
        shared.queues.lock().fill(self.queue.take(), self.bytes, entry);
        shared.filled.notify_one();
    }
}

impl<T: Queued> Drop for Permit<T> {
    fn drop(&mut self) {
        if !self.is_used {
            self.backlog.0.queues.lock().cancel(self.queue.as_ref(), self.bytes);
            self.backlog.freed();
        }
    }
}

impl<T> Clone for Backlog<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
