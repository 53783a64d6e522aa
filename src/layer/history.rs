//! Which groups keep a history, and its limits.

use std::time::Duration;

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;

use crate::group::{GroupName, GroupPattern};

/// How much of a group's history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Publications, the newest.
    pub size: u32,
    /// How long each is kept, and the history after its newest.
    pub ttl: Duration,
}

/// Which groups keep a history: the first pattern that matches decides; without one there is none.
#[derive(Debug, Clone, Default)]
pub struct History(Vec<(GroupPattern, Retention)>);

/// How long the numbering of a group outlives its publications, so that a quiet group keeps its
/// epoch. It takes about a hundred bytes a group.
pub(super) const NUMBERING: Duration = Duration::from_secs(24 * 3600);

impl History {
    /// A history for the groups of each pattern.
    pub fn new(kept: Vec<(GroupPattern, Retention)>) -> Self {
        Self(kept)
    }

    /// What `group` keeps, if anything.
    pub fn of(&self, group: &GroupName) -> Option<Retention> {
        let first = self.0.iter().find(|(pattern, _)| pattern.matches(group.as_str()));
        first.map(|(_, kept)| *kept)
    }
}

/// The random part of a new epoch, which distinguishes numberings.
pub(super) fn random_epoch() -> String {
    let mut bytes = [0; 5];
    rand::fill(&mut bytes).expect("the operating system has random bytes");
    HEXLOWER.encode(&bytes)
}
