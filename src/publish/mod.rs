//! The one way in: checks, deduplicates and accepts the events of the API, browsers and the ingress.

mod batch;
mod keys;
mod publisher;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use keys::{DedupeKey, KeyError, Scope};
pub use publisher::Publisher;

use crate::event::{Event, Except, Position, PublicationId};
use crate::layer::LayerError;

/// Bounds at the publisher.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Largest event, bytes of JSON. Below `outbox_bytes`, so that an empty outbox takes any event.
    pub max_event_bytes: usize,
    /// How long an idempotency key is remembered.
    pub idempotency_window: Duration,
    /// Most idempotency keys remembered; the oldest go first.
    pub idempotency_keys: usize,
    /// How long a caller waits for room before it is refused (503).
    pub publish_timeout: Duration,
}

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

/// The publication was accepted and is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The publication's id.
    pub id: PublicationId,
    /// Its position, if the group keeps a history.
    pub position: Option<Position>,
    /// Whether this is the answer to an earlier publication with the same key: nothing was sent.
    pub repeated: bool,
}

/// Why a publication was not accepted. Nothing was sent, except perhaps with [`Self::Busy`] and
/// [`Self::Layer`] over Redis, where only the answer may be lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The event is over [`Settings::max_event_bytes`].
    #[error("event has {bytes} bytes; at most {most} are allowed")]
    TooLarge {
        /// The event's length.
        bytes: usize,
        /// The bound.
        most: usize,
    },
    /// The key was used for another publication.
    #[error("idempotency key was used for another publication less than {} s ago", .0.as_secs())]
    KeyReused(Duration),
    /// There was no room for so long; the caller may retry.
    #[error("no room for the publication within {} ms", .0.as_millis())]
    Busy(Duration),
    /// The layer did not accept it; the caller may retry.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl PublishRequest {
    /// `event` for everybody in the target, with the expiry of the receiving group.
    pub fn new(event: Event) -> Self {
        Self { event, except: Except::default(), expiry: None, key: None }
    }
}

impl PublishError {
    /// Whether the same publication may be accepted later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Layer(_))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_event_bytes: 64 * 1024,
            idempotency_window: Duration::from_secs(120),
            idempotency_keys: 100_000,
            publish_timeout: Duration::from_secs(2),
        }
    }
}
