//! The bounded way into a shard from any thread or task: two lanes and what wakes it.
//!
//! Publications can fill their lane for as long as a shard is busy. What nobody may wait that long
//! for (admissions, answers, reports) has a lane of its own, which the shard empties first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use mio::Waker;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::command::{OrderedCommand, PostedAt, PromptCommand};

/// The sending end of a shard's inbox.
#[derive(Clone)]
pub(super) struct Inbox {
    ordered: mpsc::Sender<OrderedCommand>,
    prompt: mpsc::Sender<PromptCommand>,
    /// Of changes and connections posted; see [`PostedAt`].
    posted: Arc<AtomicU64>,
    waker: Arc<ShardWaker>,
}

/// The receiving end.
pub(super) struct InboxReceiver {
    pub(super) ordered: mpsc::Receiver<OrderedCommand>,
    pub(super) prompt: mpsc::Receiver<PromptCommand>,
}

/// Wakes a shard that sleeps in its poll, and costs no system call while it is awake.
pub(super) struct ShardWaker {
    waker: Waker,
    /// Set by the shard before it looks into its inbox for the last time and sleeps.
    is_asleep: AtomicBool,
}

impl Inbox {
    /// An inbox with room for `capacity` commands in each lane.
    pub(super) fn new(capacity: usize, waker: Waker) -> (Self, InboxReceiver) {
        let (ordered, ordered_receiver) = mpsc::channel(capacity);
        let (prompt, prompt_receiver) = mpsc::channel(capacity);
        let waker = Arc::new(ShardWaker { waker, is_asleep: AtomicBool::new(false) });
        let receiver = InboxReceiver { ordered: ordered_receiver, prompt: prompt_receiver };
        (Self { ordered, prompt, posted: Arc::default(), waker }, receiver)
    }

    pub(super) fn waker(&self) -> Arc<ShardWaker> {
        Arc::clone(&self.waker)
    }

    /// The place of a change or a connection that is about to be sent.
    pub(super) fn posted_at(&self) -> PostedAt {
        PostedAt(self.posted.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits for room: for the shard to work, never for a socket. A shard that has ended takes
    /// nothing, which is as good as done: its connections are gone.
    pub(super) async fn send(&self, command: OrderedCommand) {
        if self.ordered.send(command).await.is_ok() {
            self.waker.wake();
        }
    }

    /// As [`Inbox::send`], in the lane that waits for no publication.
    pub(super) async fn send_promptly(&self, command: PromptCommand) {
        if self.prompt.send(command).await.is_ok() {
            self.waker.wake();
        }
    }

    /// Waits for room without waking the shard, which [`Inbox::wake`] must do soon: only for lack of
    /// room is it woken at once, or there would never be any.
    pub(super) async fn post(&self, command: OrderedCommand) {
        if let Err(TrySendError::Full(command)) = self.ordered.try_send(command) {
            self.waker.wake();
            self.send(command).await;
        }
    }

    /// Wakes the shard if it sleeps or is about to.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Gives the command back if there is no room or nobody to take it.
    pub(super) fn try_send_promptly(&self, command: PromptCommand) -> Result<(), PromptCommand> {
        match self.prompt.try_send(command) {
            Ok(()) => {
                self.waker.wake();
                Ok(())
            }
            Err(TrySendError::Full(command) | TrySendError::Closed(command)) => Err(command),
        }
    }

    #[cfg(test)]
    pub(super) fn try_send(&self, command: OrderedCommand) -> Result<(), OrderedCommand> {
        match self.ordered.try_send(command) {
            Ok(()) => {
                self.waker.wake();
                Ok(())
            }
            Err(TrySendError::Full(command) | TrySendError::Closed(command)) => Err(command),
        }
    }
}

impl InboxReceiver {
    /// Commands that wait, in both lanes.
    pub(super) fn len(&self) -> usize {
        self.ordered.len() + self.prompt.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nobody holds the other end any more.
    pub(super) fn is_closed(&self) -> bool {
        self.ordered.is_closed() && self.prompt.is_closed()
    }
}

impl ShardWaker {
    /// Wakes the shard if it sleeps or is about to.
    pub(super) fn wake(&self) {
        // With the fence in `park`: either this sees `is_asleep`, or the shard's last look into the
        // inbox sees the command. Acquire and release alone would allow neither.
        fence(Ordering::SeqCst);
        if self.is_asleep.swap(false, Ordering::Relaxed) {
            // The only error is a full eventfd counter, which is awake enough.
            let _ = self.waker.wake();
        }
    }

    /// Called by the shard before its last look into the inbox.
    pub(super) fn park(&self) {
        self.is_asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by the shard when it works again.
    pub(super) fn unpark(&self) {
        self.is_asleep.store(false, Ordering::Relaxed);
    }
}
