//! Remembers the signatures of messages that arrived lately: a copy of one is discarded.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::layer::cluster_keys::Tag;

/// Signatures of one half: at least so many of the newest are known, some three seconds of 10,000
/// messages a second. Both halves take 3 MB when they are full.
const HALF: usize = 32_768;

/// The newest signatures of one instance. Empty, and without memory, while nothing is signed.
#[derive(Debug, Default)]
pub(in crate::layer) struct SeenTags(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    newer: HashSet<Tag>,
    older: HashSet<Tag>,
}

impl SeenTags {
    /// Whether this is its first message.
    pub(super) fn admits(&self, tag: Tag) -> bool {
        let mut halves = self.0.lock();
        if halves.older.contains(&tag) || !halves.newer.insert(tag) {
            return false;
        }
        if halves.newer.len() >= HALF {
            halves.older = std::mem::take(&mut halves.newer);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_newest_and_forgets_the_oldest() {
        let tag = |n: usize| (n as u128).to_be_bytes();
        let seen = SeenTags::default();
        for n in 0..3 * HALF {
            assert!(seen.admits(tag(n)));
        }
        for n in 2 * HALF..3 * HALF {
            assert!(!seen.admits(tag(n)), "{n}");
        }
        assert!(seen.admits(tag(0)));
        let halves = seen.0.lock();
        assert!(halves.newer.len() + halves.older.len() <= 2 * HALF);
    }
}
