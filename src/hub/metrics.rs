//! Metrics of the hub whose labels only it knows.

use crate::identity::AuthFailure;
use crate::telemetry::{Counters, Gauges, Metrics, label};

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    /// `groupcast.v1.json`.
    V1,
    /// Bare events.
    Plain,
}

/// Why a publication did not reach a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum DropReason {
    /// The group's capacity in the outbox was exceeded.
    Capacity,
    /// The byte limit of the outbox was exceeded.
    Bytes,
    /// It expired in the outbox.
    Expired,
    /// The route does not list the event.
    Unlisted,
    /// The connection ended while it was queued.
    Closed,
    /// A newer one took its place: no loss, in a group that keeps only the latest.
    Superseded,
}

/// Why a call failed. Plain clients are not notified, so it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallFailure {
    /// A plain frame that is not a call.
    NotACall,
    /// No grant for it.
    Forbidden,
    /// No back end is configured.
    NoBackend,
    /// Too many calls are waiting.
    Busy,
    /// Too many calls of this user are in flight.
    Limited,
    /// The back end refused it (4xx).
    Refused,
    /// The back end failed (5xx).
    Failed,
    /// The back end did not answer in time.
    Timeout,
    /// The back end cannot be reached.
    Unreachable,
    /// The back end's answer was invalid.
    BadAnswer,
}

label!(Protocol = "protocol" {
    V1 = "v1",
    Plain = "plain",
});

label!(DropReason = "reason" {
    Capacity = "capacity",
    Bytes = "bytes",
    Expired = "expired",
    Unlisted = "unlisted",
    Closed = "closed",
    Superseded = "superseded",
});

label!(CallFailure = "reason" {
    NotACall = "not_a_call",
    Forbidden = "forbidden",
    NoBackend = "no_backend",
    Busy = "busy",
    Limited = "limited",
    Refused = "refused",
    Failed = "failed",
    Timeout = "timeout",
    Unreachable = "unreachable",
    BadAnswer = "bad_answer",
});

/// The handles of one shard; those of all shards count together.
pub(super) struct HubMetrics {
    /// Open WebSockets.
    pub(super) connections: Gauges<Protocol>,
    /// Publications that did not reach a connection.
    pub(super) dropped: Counters<DropReason>,
    /// Calls that were not passed on.
    pub(super) calls_failed: Counters<CallFailure>,
    /// Renewals that were refused.
    pub(super) auth_failures: Counters<AuthFailure>,
}

impl HubMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let registry = metrics.registry();
        Self {
            connections: registry.gauges("connections", "Open WebSockets."),
            dropped: registry
                .counters("dropped_total", "Publications that did not reach a connection."),
            calls_failed: CallFailure::counters(metrics),
            auth_failures: AuthFailure::counters(metrics),
        }
    }
}

impl CallFailure {
    /// The counters of all of them.
    pub fn counters(metrics: &Metrics) -> Counters<Self> {
        metrics.registry().counters("calls_failed_total", "Failed calls.")
    }
}
