//! The entries that this instance has removed from one source recently.

use crate::bounded_map::{BoundedMap, MapLimits};
use crate::event::PublicationId;

/// Entries remembered of each source. A Redis that takes over with old data restores the previous
/// contents of a mailbox: at most its capacity, which is rarely above a few thousand.
const REMEMBERED: usize = 8192;

/// The newest entries, half of each id: 64 bits make a collision practically impossible.
#[derive(Debug)]
pub(super) struct Seen(BoundedMap<u64, ()>);

impl Seen {
    pub(super) fn contains(&self, id: PublicationId) -> bool {
        self.0.get(&(id.0 as u64)).is_some()
    }

    pub(super) fn add(&mut self, id: PublicationId) {
        self.0.insert(id.0 as u64, (), 0);
    }
}

impl Default for Seen {
    fn default() -> Self {
        Self(BoundedMap::new(MapLimits::entries(REMEMBERED)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_newest_entries_and_forgets_the_oldest() {
        let mut seen = Seen::default();
        for n in 0..REMEMBERED as u128 + 1 {
            assert!(!seen.contains(PublicationId(n)));
            seen.add(PublicationId(n));
            seen.add(PublicationId(n));
        }
        assert!(!seen.contains(PublicationId(0)));
        assert!(seen.contains(PublicationId(1)));
        assert_eq!(seen.0.len(), REMEMBERED);
    }
}
