//! The entries that this instance has removed from one source lately.

use std::collections::{HashSet, VecDeque};

use crate::event::PublicationId;

/// Remembered of each source. A Redis that takes over with old data brings back what was in a mailbox a
/// moment ago: at most its capacity, which is rarely above a few thousand.
const REMEMBERED: usize = 8192;

/// The newest entries, half of each id: 64 bits leave no room for an accident.
#[derive(Debug, Default)]
pub(super) struct Seen {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    pub(super) fn holds(&self, id: PublicationId) -> bool {
        self.known.contains(&(id.0 as u64))
    }

    pub(super) fn add(&mut self, id: PublicationId) {
        let half = id.0 as u64;
        if !self.known.insert(half) {
            return;
        }
        self.order.push_back(half);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_known_and_the_oldest_forgotten() {
        let mut seen = Seen::default();
        for n in 0..REMEMBERED as u128 + 1 {
            assert!(!seen.holds(PublicationId(n)));
            seen.add(PublicationId(n));
            seen.add(PublicationId(n));
        }
        assert!(!seen.holds(PublicationId(0)));
        assert!(seen.holds(PublicationId(1)));
        assert_eq!(seen.known.len(), REMEMBERED);
    }
}
