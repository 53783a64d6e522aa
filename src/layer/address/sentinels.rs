//! The sentinels of a primary: where they are, how to log in to them, and what they said last.

use std::sync::Arc;

use super::credentials::Credentials;
use super::known_primary::KnownPrimary;

/// The sentinels of one primary. Clones share what they said.
#[derive(Clone)]
pub(in crate::layer) struct Sentinels {
    /// Host and port of each.
    pub(in crate::layer) nodes: Vec<(String, u16)>,
    /// The name under which they watch the primary.
    pub(in crate::layer) service: String,
    /// Of the sentinels: those of Redis are others.
    pub(in crate::layer) credentials: Credentials,
    pub(in crate::layer) known: Arc<KnownPrimary>,
}

impl PartialEq for Sentinels {
    fn eq(&self, other: &Self) -> bool {
        let parts = |it: &Self| (it.nodes.clone(), it.service.clone(), it.credentials.clone());
        parts(self) == parts(other)
    }
}
