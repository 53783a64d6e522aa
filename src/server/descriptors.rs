//! How many WebSockets the limit on file descriptors leaves room for.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors reserved for listeners, the API, the log, the layer, and handshakes in progress.
const RESERVE: u64 = 512;

/// Raises the soft limit to the hard one, and returns the most WebSockets that it allows; `wanted`
/// = 0 asks for as many as possible.
pub fn raise_descriptor_limit(wanted: usize) -> io::Result<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, soft, hard, "raising the limit on open files failed");
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
            "connections.max lowered to what the limit on open files allows"
        );
    }
    Ok(wanted.min(room))
}

/// The most WebSockets under a limit on open files.
pub fn sockets_within(limit: u64) -> usize {
    // With a small limit half of it still serves WebSockets.
    let room = limit.saturating_sub(RESERVE).max(limit / 2);
    usize::try_from(room).unwrap_or(usize::MAX)
}
