//! `[celery]`: the states of Celery's tasks.

use serde::{Deserialize, Serialize};

use super::TlsTable;
use crate::celery::CelerySettings;
use crate::config::secret::Secret;

/// `[celery]`: whose tasks browsers may watch, and what they see of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CelerySection {
    /// Empty = the result back end is not watched.
    pub(crate) results: Secret,
    pub(crate) results_password_file: String,
    pub(crate) events: Secret,
    pub(crate) events_password_file: String,
    pub(crate) event_channels: String,
    /// Empty = browsers start no tasks.
    pub(crate) broker: Secret,
    pub(crate) broker_password_file: String,
    pub(crate) broker_prefix: String,
    pub(crate) queues: Vec<String>,
    pub(crate) key_prefix: String,
    pub(crate) group_prefix: String,
    pub(crate) show_results: bool,
    pub(crate) show_errors: bool,
    pub(crate) tls: TlsTable,
}

impl Default for CelerySection {
    fn default() -> Self {
        let celery = CelerySettings::default();
        Self {
            results: Secret(String::new()),
            results_password_file: String::new(),
            events: Secret(String::new()),
            events_password_file: String::new(),
            event_channels: String::new(),
            broker: Secret(String::new()),
            broker_password_file: String::new(),
            broker_prefix: String::new(),
            queues: vec!["celery".to_owned()],
            key_prefix: celery.key_prefix,
            group_prefix: celery.group_prefix,
            show_results: celery.show_results,
            show_errors: celery.show_errors,
            tls: TlsTable::default(),
        }
    }
}
