//! Why a message of a queue cannot be published.

use crate::event::EventError;
use crate::telemetry::label;

/// Why a message is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AmqpRefusal {
    /// The routing key.
    #[error("routing key {key:?} is no target: {why}")]
    Target { key: String, why: String },
    /// The content type.
    #[error("content type is {0:?}; application/json, or none, is required")]
    ContentType(String),
    /// The content encoding.
    #[error("content encoding is {0:?}; utf-8, or none, is required")]
    ContentEncoding(String),
    /// kombu's `compression`.
    #[error("body is compressed ({0:?}); publish without compression")]
    Compressed(String),
    /// The expiration.
    #[error("expiration is {0:?}; milliseconds are required")]
    Expiration(String),
    /// The body.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The body is larger than an event may be.
    #[error("event has {bytes} bytes; at most {most} are allowed")]
    TooLarge { bytes: usize, most: usize },
    /// The message id.
    #[error("message id was used for another message")]
    IdReused,
    /// A bug of the gateway.
    #[error("message made the decoder panic")]
    Panic,
}

/// The reasons by which refused messages are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AmqpReason {
    Target,
    ContentType,
    ContentEncoding,
    Compressed,
    Expiration,
    Event,
    TooLarge,
    IdReused,
    Panic,
}

label!(AmqpReason = "reason" {
    Target = "target",
    ContentType = "content_type",
    ContentEncoding = "content_encoding",
    Compressed = "compressed",
    Expiration = "expiration",
    Event = "event",
    TooLarge = "too_large",
    IdReused = "id_reused",
    Panic = "panic",
});

impl AmqpRefusal {
    pub(super) fn reason(&self) -> AmqpReason {
        match self {
            Self::Target { .. } => AmqpReason::Target,
            Self::ContentType(_) => AmqpReason::ContentType,
            Self::ContentEncoding(_) => AmqpReason::ContentEncoding,
            Self::Compressed(_) => AmqpReason::Compressed,
            Self::Expiration(_) => AmqpReason::Expiration,
            Self::Event(_) => AmqpReason::Event,
            Self::TooLarge { .. } => AmqpReason::TooLarge,
            Self::IdReused => AmqpReason::IdReused,
            Self::Panic => AmqpReason::Panic,
        }
    }
}
