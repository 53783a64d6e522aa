//! Refuses publications that would wait in front of the hub for too long. A publisher that is told
//! so can slow down; one whose events are late, or lost, cannot.

use std::time::Duration;

use super::backlog::MessageBacklog;
use crate::event::{Publication, Target};
use crate::layer::LayerError;
use crate::layer::group_queues::QueueKey;

/// Longest wait in the backlog. With some 40 ms in a shard, and the way over Redis, an event that
/// is accepted reaches its sockets within 250 ms.
const MAX_WAIT: Duration = Duration::from_millis(150);

/// Publications of a batch that are checked at once.
const MAX_CHECKED: usize = 256;

/// What refuses.
#[derive(Debug)]
pub(super) struct LagLimit {
    backlog: MessageBacklog,
}

impl LagLimit {
    pub(super) fn new(backlog: MessageBacklog) -> Self {
        Self { backlog }
    }

    /// # Errors
    /// [`LayerError::Behind`] if one more for `target`, behind `ahead` others, would be late.
    pub(super) fn check(&self, target: &Target, ahead: usize) -> Result<(), LayerError> {
        let queue = match target {
            Target::Group(group) => Some(QueueKey::Group(group.clone())),
            Target::User(sub) => Some(QueueKey::of_user(sub.as_bytes())),
            Target::Connection(_) => Some(QueueKey::Instance),
            Target::All => None,
        };
        match self.backlog.wait_of(queue.as_ref(), ahead) {
            wait if wait <= MAX_WAIT => Ok(()),
            wait => Err(LayerError::Behind(wait)),
        }
    }

    /// The first of `publications` that would not be late: some, or an error.
    ///
    /// # Errors
    /// As [`LagLimit::check`].
    pub(super) fn in_time<'a, T>(
        &self,
        publications: &'a [T],
        publication: impl Fn(&T) -> &Publication,
    ) -> Result<&'a [T], LayerError> {
        for (ahead, it) in publications.iter().take(MAX_CHECKED).enumerate() {
            match self.check(&publication(it).target, ahead) {
                Err(error) if ahead == 0 => return Err(error),
                Err(_) => return Ok(&publications[..ahead]),
                Ok(()) => {}
            }
        }
        Ok(&publications[..publications.len().min(MAX_CHECKED)])
    }
}
