//! The bounded inbox of a shard, for any thread or task: two lanes and a waker.
//!
//! Publications can fill their lane while a shard is busy. Commands that must not wait that long
//! (admissions, answers, reports) have a separate lane, which the shard empties first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use mio::Waker;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::command::{OrderedCommand, PostedAt, PromptCommand};
use super::work_limit::{WorkLimit, WorkMeter, work_limit};
use crate::event::Publication;

/// The sending end of a shard's inbox.
#[derive(Clone)]
pub(super) struct ShardInbox {
    ordered: mpsc::Sender<OrderedCommand>,
    prompt: mpsc::Sender<PromptCommand>,
    /// Counts changes and connections posted; see [`PostedAt`].
    posted: Arc<AtomicU64>,
    /// Limits the publications that wait.
    work: WorkLimit,
    waker: Arc<ShardWaker>,
}

/// The receiving end.
pub(super) struct InboxReceiver {
    ordered: mpsc::Receiver<OrderedCommand>,
    pub(super) prompt: mpsc::Receiver<PromptCommand>,
    pub(super) work: WorkMeter,
}

/// Wakes a shard that sleeps in its poll. Costs no system call while it is awake.
pub(super) struct ShardWaker {
    waker: Waker,
    /// Set by the shard before it checks its inbox for the last time and sleeps.
    is_asleep: AtomicBool,
}

impl ShardInbox {
    /// An inbox with room for `capacity` commands in each lane.
    pub(super) fn new(capacity: usize, waker: Waker) -> (Self, InboxReceiver) {
        let (ordered, ordered_receiver) = mpsc::channel(capacity);
        let (prompt, prompt_receiver) = mpsc::channel(capacity);
        let (work, meter) = work_limit(capacity);
        let waker = Arc::new(ShardWaker { waker, is_asleep: AtomicBool::new(false) });
        let receiver =
            InboxReceiver { ordered: ordered_receiver, prompt: prompt_receiver, work: meter };
        (Self { ordered, prompt, posted: Arc::default(), work, waker }, receiver)
    }

    pub(super) fn waker(&self) -> Arc<ShardWaker> {
        Arc::clone(&self.waker)
    }

    /// The order number for a change or a connection that is about to be sent.
    pub(super) fn posted_at(&self) -> PostedAt {
        PostedAt(self.posted.fetch_add(1, Ordering::Relaxed))
    }

    /// A publication that is posted now: its place among changes and connections.
    pub(super) fn delivery(&self, publication: Arc<Publication>) -> OrderedCommand {
        OrderedCommand::Deliver(publication, PostedAt(self.posted.load(Ordering::Relaxed)))
    }

    /// Waits for room: for the shard to work, never for a socket. If the shard has ended, the
    /// command is dropped: its connections have ended, too.
    pub(super) async fn send(&self, command: OrderedCommand) {
        if self.ordered.send(command).await.is_ok() {
            self.waker.wake();
        }
    }

    /// As [`ShardInbox::send`], in the lane without publications.
    pub(super) async fn send_promptly(&self, command: PromptCommand) {
        if self.prompt.send(command).await.is_ok() {
            self.waker.wake();
        }
    }

    /// Posts a publication, and waits for room without waking the shard, which
    /// [`ShardInbox::wake`] must do soon. Without room the shard is woken, or there would never be
    /// any.
    pub(super) async fn post(&self, publication: Arc<Publication>) {
        if !self.work.try_take() {
            self.waker.wake();
            if let Ok(room) = self.work.room().acquire().await {
                room.forget();
            }
        }
        let command = self.delivery(publication);
        if let Err(TrySendError::Full(command)) = self.ordered.try_send(command) {
            self.waker.wake();
            self.send(command).await;
        }
    }

    /// Wakes the shard if it sleeps or is about to.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Returns the command if there is no room or the shard has ended.
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
    /// The next command of the lane with publications, which are counted.
    pub(super) fn next_ordered(&mut self) -> Option<OrderedCommand> {
        let command = self.ordered.try_recv().ok()?;
        if let OrderedCommand::Deliver(..) = command {
            self.work.count();
        }
        Some(command)
    }

    /// Commands waiting in both lanes.
    pub(super) fn len(&self) -> usize {
        self.ordered.len() + self.prompt.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the other end was dropped.
    pub(super) fn is_closed(&self) -> bool {
        self.ordered.is_closed() && self.prompt.is_closed()
    }
}

impl ShardWaker {
    /// Wakes the shard if it sleeps or is about to.
    pub(super) fn wake(&self) {
        // With the fence in `park`: either this sees `is_asleep`, or the shard's last check of the
        // inbox sees the command. Acquire and release alone would allow neither.
        fence(Ordering::SeqCst);
        if self.is_asleep.swap(false, Ordering::Relaxed) {
            // The only error is a full eventfd counter, which wakes the shard as well.
            let _ = self.waker.wake();
        }
    }

    /// Called by the shard before its last check of the inbox.
    pub(super) fn park(&self) {
        self.is_asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by the shard when it works again.
    pub(super) fn unpark(&self) {
        self.is_asleep.store(false, Ordering::Relaxed);
    }
}
