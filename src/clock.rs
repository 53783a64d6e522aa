//! The wall clock, for values exchanged with others: expiry of tokens, signatures, scores.
//!
//! Durations are measured with `Instant` instead, since the wall clock jumps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970; zero if the clock is before 1970.
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Whole seconds since 1970, as in JWT claims.
pub fn unix_seconds() -> u64 {
    since_epoch().as_secs()
}
