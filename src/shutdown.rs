//! The phase of the process, from running to closed. It never goes back.

use std::sync::Arc;

use tokio::sync::watch;

/// The phases in order: a later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Normal operation.
    Running,
    /// No new work is accepted; open connections are being closed.
    Draining,
    /// Everything is closed, or the grace time is over.
    Closed,
}

/// The process's phase, to be advanced, read and awaited. Clones share it.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<watch::Sender<Phase>>);

impl Shutdown {
    /// Starts in the running phase.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Running)))
    }

    /// The current phase.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Starts to drain, unless it has already started.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// Marks everything as closed.
    pub fn close(&self) {
        self.advance(Phase::Closed);
    }

    /// Waits until `phase`, or a later one, is reached.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.subscribe();
        // The sender lives in self, so the channel cannot close while this waits.
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
