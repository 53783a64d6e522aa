//! Reads of the wall clock, for what is exchanged with others: expiry of tokens, signatures,
//! scores.
//!
//! Everything that measures a duration uses `Instant` instead: the wall clock jumps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970. A clock set before 1970 reads as zero.
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Whole seconds since 1970, as in JWT claims.
pub fn unix_seconds() -> u64 {
    since_epoch().as_secs()
}
