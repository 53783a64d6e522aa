//! Connects the hub to the layer, the back end and the publisher: serves the requests of
//! connections, and hands the hub what the layer delivers.

mod call_refusals;
mod calls;
mod confirm;
mod dispatch;
mod interest;
mod membership;
mod mending;
mod new_names;
mod send_batch;
mod sends;
mod serve;
mod task_calls;
mod task_states;

use std::time::Duration;

pub(crate) use dispatch::dispatch;
pub(crate) use serve::{Collaborators, Coordinator};
pub(crate) use task_states::deliver_task_states;

/// Settings of the coordinator.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a group without members stays subscribed, so that a wave of reconnections does not
    /// cause a wave of subscriptions.
    pub linger: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { linger: Duration::from_secs(10) }
    }
}
