//! Remembers how the last connection of users ended, for reports.

use std::sync::Arc;
use std::time::Instant;

use crate::bounded_map::{BoundedMap, MapLimits};
use crate::event::ConnectionId;
use crate::hub::report::Dropped;

/// Users whose last end is remembered.
pub(in crate::hub) const REMEMBERED: usize = 4096;

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) struct UserEnd {
    pub(in crate::hub) id: ConnectionId,
    /// As counted and reported.
    pub(in crate::hub) code: u16,
    pub(in crate::hub) reason: &'static str,
    pub(in crate::hub) at: Instant,
    /// Seconds of the shard's clock: arrival, end.
    pub(in crate::hub) since: u32,
    pub(in crate::hub) second: u32,
    /// What was not delivered to it.
    pub(in crate::hub) dropped: Dropped,
}

/// The last end of the [`REMEMBERED`] users whose connections ended last.
pub(in crate::hub) struct ClosedUsers(BoundedMap<Arc<str>, UserEnd>);

impl ClosedUsers {
    pub(in crate::hub) fn note(&mut self, sub: &Arc<str>, end: UserEnd) {
        self.0.insert(Arc::clone(sub), end, 0);
    }

    /// The end of a user's last connection, while it is remembered.
    pub(in crate::hub) fn last(&self, sub: &str) -> Option<&UserEnd> {
        self.0.get(sub)
    }
}

impl Default for ClosedUsers {
    fn default() -> Self {
        Self(BoundedMap::new(MapLimits::entries(REMEMBERED)))
    }
}
