//! Divides the limit on open files between WebSockets, handshakes and the API.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors for the log, Redis, the back end, epoll and temporary files.
const RESERVE: u64 = 256;

/// The most open connections to the API. Each needs a descriptor and a buffer; requests in progress
/// have a lower limit.
const API_CONNECTIONS: u64 = 1024;

/// The most accepted connections that wait for a place on each listener, as many as the kernel's
/// queue would hold.
const WAITING: u64 = 4096;

/// How many descriptors each kind of connection may use. The kinds do not borrow from each other,
/// so many browsers cannot take the descriptors of the API and its probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Admitted WebSockets.
    pub sockets: usize,
    /// Connections of browsers before admission.
    pub handshakes: usize,
    /// Connections to the API.
    pub api: usize,
    /// Connections that wait for a place, on each listener.
    pub waiting: usize,
}

impl Descriptors {
    /// Divides `limit` open files, with `handshakes` for handshakes if there are enough.
    pub(crate) fn within(limit: u64, handshakes: usize) -> Self {
        let handshakes = (handshakes as u64).min(limit / 8).max(1);
        let api = API_CONNECTIONS.min(limit / 16).max(1);
        let waiting = WAITING.min(limit / 32).max(1);
        let reserve = RESERVE.min(limit / 8);
        let taken = handshakes + api + 2 * waiting + reserve;
        let sockets = limit.saturating_sub(taken);
        let count = |descriptors: u64| usize::try_from(descriptors).unwrap_or(usize::MAX);
        Self {
            sockets: count(sockets),
            handshakes: count(handshakes),
            api: count(api),
            waiting: count(waiting),
        }
    }

    /// Raises the soft limit to the hard one and divides it; `sockets` = 0: as many WebSockets as
    /// possible.
    pub(crate) fn raise(sockets: usize, handshakes: usize) -> io::Result<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(error) => {
                tracing::warn!(%error, soft, hard, "raising the limit on open files failed");
                soft
            }
        };
        let shared = Self::within(limit, handshakes);
        let possible = shared.sockets;
        if sockets > possible {
            let wanted = sockets;
            tracing::warn!(
                wanted,
                possible,
                limit,
                "connections.max lowered to what the limit on open files allows"
            );
        }
        let sockets = if sockets == 0 { possible } else { sockets.min(possible) };
        Ok(Self { sockets, ..shared })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shares_together_stay_within_the_limit() {
        for limit in [64, 256, 1024, 4096, 65_536, 1_048_576] {
            let shared = Descriptors::within(limit, 1024);
            let sum = shared.sockets + shared.handshakes + shared.api + 2 * shared.waiting;
            assert!(sum as u64 <= limit, "{limit}: {shared:?}");
            assert!(shared.sockets as u64 >= limit / 2, "{limit}: {shared:?}");
        }
    }

    #[test]
    fn a_large_limit_gives_every_kind_its_full_share() {
        let shared = Descriptors::within(1_048_576, 1024);
        assert_eq!((shared.handshakes, shared.api, shared.waiting), (1024, 1024, 4096));
    }
}
