//! The outcome of a publication: a receipt, or why it was not accepted.

use std::time::Duration;

use crate::event::{Position, PublicationId};
use crate::layer::LayerError;

/// The receipt of an accepted publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// The publication's id.
    pub id: PublicationId,
    /// Its position, if the group keeps a history.
    pub position: Option<Position>,
    /// Whether this is the receipt of an earlier publication with the same key, so that nothing was
    /// sent.
    pub repeated: bool,
}

/// Why a publication was not accepted. Nothing was sent, except perhaps with [`Self::Busy`] and
/// [`Self::Layer`] over Redis, where only the answer may have been lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PublishError {
    /// The event is over [`super::Settings::max_event_bytes`].
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
    /// The owner of the key has used as many as are remembered; the caller may retry later.
    #[error("{most} idempotency keys were used in the last {} s; no more are remembered",
        .window.as_secs())]
    TooManyKeys {
        /// The bound.
        most: u32,
        /// How long each is remembered.
        window: Duration,
    },
    /// There was no room within the timeout; the caller may retry.
    #[error("no room for the publication within {} ms", .0.as_millis())]
    Busy(Duration),
    /// The layer did not accept it; the caller may retry.
    #[error(transparent)]
    Layer(#[from] LayerError),
}
