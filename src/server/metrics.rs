//! Metrics of handshakes.

use crate::identity::AuthFailure;
use crate::telemetry::{Counters, Metrics, label};

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RefusalReason {
    /// The instance is full.
    Full,
    /// The user has too many connections.
    User,
    /// No route has the path.
    NoRoute,
    /// The request is no WebSocket handshake.
    BadHandshake,
    /// Token or origin were not accepted; see [`AuthFailure`].
    Unauthorized,
    /// The headers did not arrive in time.
    Timeout,
    /// It was silent while others needed its place.
    Silent,
    /// The instance is shutting down.
    Draining,
    /// The connect hook failed.
    Backend,
}

label!(RefusalReason = "reason" {
    Full = "full",
    User = "user",
    NoRoute = "no_route",
    BadHandshake = "bad_handshake",
    Unauthorized = "unauthorized",
    Timeout = "timeout",
    Silent = "silent",
    Draining = "draining",
    Backend = "backend",
});

/// The handles.
pub(crate) struct ServerMetrics {
    /// Refused connections.
    pub(crate) refusals: Counters<RefusalReason>,
    /// Tokens, cookies and origins that were not accepted.
    pub(super) auth_failures: Counters<AuthFailure>,
}

impl ServerMetrics {
    /// All of them, at zero.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let words = "Refused connections.";
        Self {
            refusals: metrics.registry().counters("refusals_total", words),
            auth_failures: AuthFailure::counters(metrics),
        }
    }
}
