//! Shared state of the endpoints.

use std::sync::Arc;

use super::console::GuessLimit;
use super::settings::Settings;
use crate::celery::TaskOperator;
use crate::channels::MailboxNames;
use crate::console::Console;
use crate::hub::Hub;
use crate::identity::{ApiKeys, AuthFailure};
use crate::publish::Publisher;
use crate::telemetry::{Counters, Metrics};

/// The rooms that serve requests, and the accepted keys.
pub(crate) struct Api {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) hub: Hub,
    pub(crate) keys: ApiKeys,
    /// Gives connections their channel names for Django.
    pub(crate) mailboxes: Option<MailboxNames>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) console: Console,
    /// Celery's tasks, where they are watched.
    pub(crate) tasks: Option<TaskOperator>,
    /// Wrong keys at the console.
    pub(crate) guesses: GuessLimit,
    /// Keys that were not accepted.
    pub(crate) auth_failures: Counters<AuthFailure>,
    pub(crate) settings: Settings,
}
