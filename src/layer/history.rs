//! Which groups keep a history, and how much of it.

use std::time::Duration;

use super::random_id;
use crate::group::{GroupName, GroupPattern};

/// How much of a group is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Publications, the newest.
    pub size: u32,
    /// How long each, and how long the whole after the newest.
    pub ttl: Duration,
}

/// What is kept of whom, by pattern; the first match counts, and who matches none keeps nothing.
#[derive(Debug, Clone, Default)]
pub struct History(Vec<(GroupPattern, Retention)>);

/// How long the numbering of a group outlives what is kept of it, so that a quiet group does not seem
/// to begin anew. It is some hundred bytes a group.
pub(super) const NUMBERING: Duration = Duration::from_secs(24 * 3600);

impl History {
    /// What these patterns say.
    pub fn new(kept: Vec<(GroupPattern, Retention)>) -> Self {
        Self(kept)
    }

    /// What is kept of `group`, if anything.
    pub fn of(&self, group: &GroupName) -> Option<Retention> {
        let first = self.0.iter().find(|(pattern, _)| pattern.matches(group.as_str()));
        first.map(|(_, kept)| *kept)
    }
}

/// The random part of a new epoch: numberings that begin anew are not taken for one another.
pub(super) fn random_epoch() -> String {
    format!("{:010x}", random_id() >> 88)
}
