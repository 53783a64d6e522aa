//! Limits of the publisher.

use std::time::Duration;

/// Limits of the publisher.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The largest event, in bytes of JSON. Below `outbox_bytes`, so that an empty outbox takes any
    /// event.
    pub max_event_bytes: usize,
    /// How long an idempotency key is remembered.
    pub idempotency_window: Duration,
    /// The most idempotency keys remembered; the oldest are dropped first.
    pub idempotency_keys: usize,
    /// How long a caller waits for room before it is refused (503).
    pub publish_timeout: Duration,
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
