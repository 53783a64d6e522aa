//! The bounded way into a shard from any thread or task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use mio::Waker;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::command::Command;

/// The sending end of a shard's inbox.
#[derive(Clone)]
pub(super) struct Inbox {
    sender: mpsc::Sender<Command>,
    waker: Arc<ShardWaker>,
}

/// Wakes a shard that sleeps in its poll, and costs no system call while it is awake.
pub(super) struct ShardWaker {
    waker: Waker,
    /// Set by the shard before it looks into its inbox for the last time and sleeps.
    is_asleep: AtomicBool,
}

impl Inbox {
    pub(super) fn new(capacity: usize, waker: Waker) -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(capacity);
        let waker = Arc::new(ShardWaker { waker, is_asleep: AtomicBool::new(false) });
        (Self { sender, waker }, receiver)
    }

    pub(super) fn waker(&self) -> Arc<ShardWaker> {
        Arc::clone(&self.waker)
    }

    /// Waits for room: for the shard to work, never for a socket. A shard that has ended takes
    /// nothing, which is as good as done: its connections are gone.
    pub(super) async fn send(&self, command: Command) {
        if self.sender.send(command).await.is_ok() {
            self.waker.wake();
        }
    }

    /// Waits for room without waking the shard, which [`Inbox::wake`] must do soon: only for lack of
    /// room is it woken at once, or there would never be any.
    pub(super) async fn post(&self, command: Command) {
        if let Err(TrySendError::Full(command)) = self.sender.try_send(command) {
            self.waker.wake();
            self.send(command).await;
        }
    }

    /// Wakes the shard if it sleeps or is about to.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Gives the command back if there is no room or nobody to take it.
    pub(super) fn try_send(&self, command: Command) -> Result<(), Command> {
        match self.sender.try_send(command) {
            Ok(()) => {
                self.waker.wake();
                Ok(())
            }
            Err(TrySendError::Full(command) | TrySendError::Closed(command)) => Err(command),
        }
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
