//! What is to be published.

use std::time::Duration;

use super::dedupe_key::DedupeKey;
use crate::event::{Event, Except};

/// What is to be published, without its targets.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    /// The event.
    pub event: Event,
    /// The connections and users left out.
    pub except: Except,
    /// Longest that it may take from acceptance to a socket; `None` = the group's own limit alone.
    pub expiry: Option<Duration>,
    /// Makes a repetition harmless.
    pub key: Option<DedupeKey>,
}

impl PublishRequest {
    /// `event` for everybody in the target, with the expiry of the receiving group.
    pub fn new(event: Event) -> Self {
        Self { event, except: Except::default(), expiry: None, key: None }
    }
}
