//! A request to publish.

use std::time::Duration;

use super::dedupe_key::DedupeKey;
use crate::event::{Event, Except};
use crate::layer::Digest;

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
    /// What its key stands for: all that the caller chose, but the targets, each of which has the
    /// key to itself.
    ///
    /// Without excluded connections: a client that reconnects repeats a `send` on another
    /// connection, and means the same publication.
    pub(super) fn content(&self) -> Digest {
        let users: Vec<_> = self.except.users.iter().map(|user| user.as_bytes()).collect();
        let expiry = self.expiry.map_or(u128::MAX, |expiry| expiry.as_millis());
        Digest::of(&[&Digest::of(&users).0, &expiry.to_be_bytes(), self.event.json()])
    }

    /// `event` without exclusions, with the expiry of the receiving group.
    pub(crate) fn new(event: Event) -> Self {
        Self { event, except: Except::default(), expiry: None, key: None }
    }
}
