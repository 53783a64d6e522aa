//! What the endpoints use.

use std::sync::Arc;

use super::settings::Settings;
use crate::channels::MailboxNames;
use crate::hub::Hub;
use crate::identity::ApiKeys;
use crate::publish::Publisher;
use crate::telemetry::Metrics;

/// The rooms that requests are passed on to, and whose keys are accepted.
pub(crate) struct Api {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) hub: Hub,
    pub(crate) keys: ApiKeys,
    /// Knows the names by which Django reaches connections.
    pub(crate) mailboxes: Option<MailboxNames>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: Settings,
}
