//! The queue in front of the hub. Groups take turns in it: a flood delays and costs only its own.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::group_queues::{GroupQueues, Next, QueueKey, Queued};

/// Both ends of the backlog. Clones share it.
#[derive(Debug)]
pub(super) struct Backlog<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    queues: Mutex<GroupQueues<T>>,
    /// Notified when the backlog may have an entry; one task alone waits for it.
    filled: Notify,
}

impl<T: Queued> Backlog<T> {
    /// An empty backlog for so many messages and bytes.
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        let queues = Mutex::new(GroupQueues::new(max_messages, max_bytes));
        Self(Arc::new(Shared { queues, filled: Notify::new() }))
    }

    /// Adds an entry without waiting, to a queue or to all.
    pub(super) fn push(&self, queue: Option<QueueKey>, entry: T) {
        self.0.queues.lock().push(queue, entry);
        self.0.filled.notify_one();
    }

    /// The next entry, in the order of turns.
    pub(super) async fn next(&self) -> Next<T> {
        loop {
            let next = self.0.queues.lock().pop();
            if let Some(entry) = next {
                return entry;
            }
            self.0.filled.notified().await;
        }
    }

    /// How long `count` more messages of the queue would wait, as far as can be foreseen; without a
    /// queue, those for everybody.
    pub(super) fn wait_of(&self, queue: Option<&QueueKey>, count: usize) -> Duration {
        self.0.queues.lock().wait_of(queue, count)
    }
}

impl<T> Clone for Backlog<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
