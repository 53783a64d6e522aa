//! `[celery]`: the states of Celery's tasks.

use serde::{Deserialize, Serialize};

use crate::celery::CelerySettings;
use crate::config::secret::Secret;

/// `[celery]`: whose tasks browsers may watch, and what they see of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CelerySection {
    /// Empty = the result back end is not watched.
    pub(crate) results: Secret,
    pub(crate) events: Secret,
    pub(crate) event_channels: String,
    pub(crate) key_prefix: String,
    pub(crate) group_prefix: String,
    pub(crate) show_results: bool,
    pub(crate) show_errors: bool,
}

impl Default for CelerySection {
    fn default() -> Self {
        let celery = CelerySettings::default();
        Self {
            results: Secret(String::new()),
            events: Secret(String::new()),
            event_channels: String::new(),
            key_prefix: celery.key_prefix,
            group_prefix: celery.group_prefix,
            show_results: celery.show_results,
            show_errors: celery.show_errors,
        }
    }
}
