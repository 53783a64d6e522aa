//! How many WebSockets the limit on file descriptors leaves room for.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors kept for listeners, the API, the log, the layer, and handshakes under way.
const RESERVE: u64 = 512;

/// Raises the soft limit to the hard one and works out the most WebSockets; `wanted` = 0 asks for
/// all that the limit leaves.
pub fn descriptors(wanted: usize) -> io::Result<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, soft, hard, "the limit on open files stays as it is");
            soft
        }
    };
    let room = sockets_within(limit);
    if wanted == 0 {
        return Ok(room);
    }
    if wanted > room {
        tracing::warn!(
            wanted,
            room,
            limit,
            "connections.max is cut to what the limit on open files leaves"
        );
    }
    Ok(wanted.min(room))
}

/// The most WebSockets under a limit on open files.
pub fn sockets_within(limit: u64) -> usize {
    // A small limit still serves someone: half of it.
    let room = limit.saturating_sub(RESERVE).max(limit / 2);
    usize::try_from(room).unwrap_or(usize::MAX)
}
