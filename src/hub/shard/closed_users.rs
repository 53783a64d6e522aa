//! Remembers the last close code of users, for reports.

use std::sync::Arc;
use std::time::Instant;

use crate::bounded_map::{BoundedMap, MapLimits};

/// Users whose last close code is remembered.
pub(in crate::hub) const REMEMBERED: usize = 4096;

/// The last close code of the [`REMEMBERED`] users whose connections ended last.
pub(in crate::hub) struct ClosedUsers(BoundedMap<Arc<str>, (u16, Instant)>);

impl ClosedUsers {
    pub(in crate::hub) fn note(&mut self, sub: &Arc<str>, code: u16, at: Instant) {
        self.0.insert(Arc::clone(sub), (code, at), 0);
    }

    /// The code of a user's last close and when it was, while it is remembered.
    pub(in crate::hub) fn last(&self, sub: &str) -> Option<(u16, Instant)> {
        self.0.get(sub).copied()
    }
}

impl Default for ClosedUsers {
    fn default() -> Self {
        Self(BoundedMap::new(MapLimits::entries(REMEMBERED)))
    }
}
