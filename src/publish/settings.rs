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
    /// The most idempotency keys remembered of one API key; more are refused.
    pub idempotency_keys: u32,
    /// The most keys of `send` remembered of one user; more are refused.
    pub user_keys: u32,
    /// How long a caller waits for room before it is refused (503).
    pub publish_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_event_bytes: 64 * 1024,
            idempotency_window: Duration::from_secs(120),
            // Each takes about 180 bytes of Redis.
            idempotency_keys: 500_000,
            // What one connection can send within the window at its limit of 50 a second.
            user_keys: 6000,
            publish_timeout: Duration::from_secs(2),
        }
    }
}
