//! What waits in front of the hub of one instance, as the others are told.

use std::time::Duration;

use super::group_queues::{BucketSalt, QueueKey};

/// The queues of an instance that are behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LagReport {
    /// By which users share queues there.
    pub(super) salt: BucketSalt,
    /// How long one more message would wait, for each queue; `None` = what concerns everybody.
    pub(super) waits: Vec<(Option<QueueKey>, Duration)>,
}

impl LagReport {
    /// Most queues named, the slowest: with more, there is no publisher who could help.
    pub(super) const MAX_QUEUES: usize = 64;
}
