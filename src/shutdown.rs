//! How far the process is on its way out: seen by everybody, never going back.

use std::sync::Arc;

use tokio::sync::watch;

/// Where the process stands. Ordered: a later phase is the greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Connections come and go.
    Running,
    /// Nothing new is taken; what is there is being closed.
    Draining,
    /// Nothing is left, or the time for it is over.
    Closed,
}

/// The process's phase, to be moved on, read and waited for. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<watch::Sender<Phase>>);

impl Shutdown {
    /// A process that is running.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Running)))
    }

    /// Where the process stands now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Begins to drain, unless that has begun already.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// Says that nothing is left to wait for.
    pub fn close(&self) {
        self.advance(Phase::Closed);
    }

    /// Waits until `phase`, or a later one, is reached.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.subscribe();
        // The sender lives in self, so the channel cannot close meanwhile.
        let _ = receiver.wait_for(|now| *now >= phase).await;
    }

    fn advance(&self, to: Phase) {
        self.0.send_if_modified(|now| {
            let further = to > *now;
            if further {
                *now = to;
            }
            further
        });
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_phases_in_order() {
        let (shutdown, seen) = (Shutdown::new(), Shutdown::new());
        assert_eq!(seen.phase(), Phase::Running);
        let seen = shutdown.clone();
        let waiting = tokio::spawn(async move {
            seen.reached(Phase::Draining).await;
            seen.phase()
        });
        shutdown.drain();
        assert_eq!(waiting.await.unwrap(), Phase::Draining);
        shutdown.close();
        shutdown.drain();
        assert_eq!(shutdown.phase(), Phase::Closed, "a phase is never gone back to");
    }

    #[tokio::test]
    async fn does_not_wait_for_a_phase_that_has_passed() {
        let shutdown = Shutdown::new();
        shutdown.close();
        shutdown.reached(Phase::Draining).await;
        shutdown.reached(Phase::Running).await;
    }
}
