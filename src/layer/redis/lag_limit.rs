//! Refuses publications that would wait in front of the hub for too long. A publisher that is told
//! so can slow down; one whose events are late, or lost, cannot.

use std::sync::Arc;

use super::backlog::MessageBacklog;
use super::peer_lags::{MAX_WAIT, PeerLags};
use crate::event::{Publication, Target};
use crate::group::MemberCounts;
use crate::layer::LayerError;
use crate::layer::group_queues::QueueKey;

/// Publications of a batch that are checked at once.
const MAX_CHECKED: usize = 256;

/// What refuses.
#[derive(Debug)]
pub(super) struct LagLimit {
    backlog: MessageBacklog,
    /// Members may be on an instance that is behind while this one is not.
    peers: Arc<PeerLags>,
}

impl LagLimit {
    pub(super) fn new(backlog: MessageBacklog, peers: Arc<PeerLags>) -> Self {
        Self { backlog, peers }
    }

    /// Where the hub counts members.
    pub(super) fn member_counts(&self) -> Arc<MemberCounts> {
        self.backlog.member_counts()
    }

    /// # Errors
    /// [`LayerError::Behind`] if one more for `target`, behind `ahead` others, would be late.
    pub(super) fn check(&self, target: &Target, ahead: usize) -> Result<(), LayerError> {
        let queue = QueueKey::of(target);
        match self.backlog.wait_of(queue.as_ref(), ahead).max(self.peers.wait_of(target)) {
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
