//! A request to publish.

use std::time::Duration;

use super::dedupe_key::DedupeKey;
use crate::event::{Event, Except};

/// A request to publish, without its targets.
#[derive(Debug, Clone)]
pub(crate) struct PublishRequest {
    /// The event.
    pub event: Event,
    /// The excluded connections and users.
    pub except: Except,
    /// The longest time from acceptance to a socket; `None` = only the group's own limit applies.
    pub expiry: Option<Duration>,
    /// Makes repetitions harmless.
    pub key: Option<DedupeKey>,
}

impl PublishRequest {
    /// `event` without exclusions, with the expiry of the receiving group.
    pub(crate) fn new(event: Event) -> Self {
        Self { event, except: Except::default(), expiry: None, key: None }
    }
}
