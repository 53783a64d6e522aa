//! Tracks what Redis refuses, logged once per change.

use std::collections::BTreeMap;

use parking_lot::{Mutex, MutexGuard};

/// Redis' answer for each thing that it refuses; it lasts until that works again.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<String, String>>);

impl Refusals {
    /// Records that Redis refuses `what`. Logged once.
    pub(crate) fn add(&self, what: &str, why: &str) {
        let before = self.current().insert(what.to_owned(), why.to_owned());
        if before.as_deref() != Some(why) {
            tracing::error!(what, why, "Redis refuses; events are not delivered");
        }
    }

    /// Redis accepts `what`.
    pub(crate) fn clear(&self, what: &str) {
        if self.current().remove(what).is_some() {
            tracing::info!(what, "Redis accepts it again");
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.current().is_empty()
    }

    fn current(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock()
    }
}
