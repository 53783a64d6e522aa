//! The mark between what arrived on one connection and what arrives on the next.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand;
use tokio::sync::watch;

/// Shared by the task that publishes the mark on a new connection and the one that reads it.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    /// The mark that is awaited; 0 = none. Random, and taken once: any other would make messages
    /// wait for a subscription that is complete already.
    awaited: AtomicU64,
    /// The newest that was read.
    read: watch::Sender<u64>,
}

impl Boundary {
    /// A new mark, which is awaited from now on.
    pub(super) fn begin(&self) -> u64 {
        let mut bytes = [0; 8];
        rand::fill(&mut bytes).expect("the operating system has random bytes");
        let mark = u64::from_ne_bytes(bytes).max(1);
        self.awaited.store(mark, Ordering::Release);
        mark
    }

    /// The mark that `message` is, if it is awaited. Anything else was published by another
    /// program.
    pub(super) fn take(&self, message: &[u8]) -> Option<u64> {
        let mark = std::str::from_utf8(message).ok()?.parse().ok().filter(|mark| *mark != 0)?;
        let taken = self.awaited.compare_exchange(mark, 0, Ordering::AcqRel, Ordering::Relaxed);
        taken.ok()
    }

    /// The mark stands in the backlog.
    pub(super) fn stands(&self, mark: u64) {
        self.read.send_replace(mark);
    }

    /// Returns once this mark stands in the backlog.
    pub(super) async fn is_read(&self, mark: u64) {
        // The sender lives as long as this.
        let _ = self.read.subscribe().wait_for(|newest| *newest == mark).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_awaited_mark_once_and_no_other() {
        let boundary = Boundary::default();
        assert_eq!(boundary.take(b"0"), None);
        let mark = boundary.begin();
        for other in ["0", "", "x", &(mark ^ 1).to_string()] {
            assert_eq!(boundary.take(other.as_bytes()), None, "{other:?}");
        }
        assert_eq!(boundary.take(mark.to_string().as_bytes()), Some(mark));
        assert_eq!(boundary.take(mark.to_string().as_bytes()), None);
    }
}
