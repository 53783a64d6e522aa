//! A WebSocket that is refused: its close frame, and what is counted and logged.

use crate::protocol::Disconnect;
use crate::telemetry::RefusalReason;

/// The close frame for a WebSocket, and what is counted and logged.
pub(super) struct Rejection {
    pub(super) disconnect: Disconnect,
    pub(super) reason: RefusalReason,
    pub(super) cause: String,
}

impl Rejection {
    pub(super) fn new(
        disconnect: Disconnect,
        reason: RefusalReason,
        cause: impl Into<String>,
    ) -> Self {
        Self { disconnect, reason, cause: cause.into() }
    }
}
