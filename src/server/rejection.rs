//! The refusal of a WebSocket: its close frame, metric and log line.

use super::metrics::RefusalReason;
use crate::protocol::Disconnect;

/// The close frame, the label of the metric, the cause for the log.
pub(super) struct Rejection {
    pub(super) disconnect: Disconnect,
    pub(super) reason: RefusalReason,
    pub(super) cause: String,
    /// The user whom its token claims; the token need not be valid.
    pub(super) claimed: Option<String>,
}

impl Rejection {
    pub(super) fn new(
        disconnect: Disconnect,
        reason: RefusalReason,
        cause: impl Into<String>,
    ) -> Self {
        Self { disconnect, reason, cause: cause.into(), claimed: None }
    }

    /// The same, of somebody whose token claims to be this user.
    pub(super) fn of(self, claimed: Option<String>) -> Self {
        Self { claimed, ..self }
    }
}
