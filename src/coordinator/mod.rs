//! Between layer and hub: what the hub wants of the layer, what the layer has for the hub.

mod calls;
mod confirm;
mod dispatch;
mod interest;
mod membership;
mod requests;

use std::time::Duration;

pub use dispatch::dispatch;
pub use requests::{Collaborators, Coordinator};

/// Shape of the relay.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a group without members stays subscribed, so that a wave of reconnections does not
    /// become a wave of subscriptions.
    pub linger: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { linger: Duration::from_secs(10) }
    }
}
