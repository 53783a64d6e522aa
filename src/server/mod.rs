//! What browsers use: handshakes, authentication, admission; then the socket goes to a shard.

mod admission;
mod authentication;
mod client_files;
mod descriptors;
mod handshake;
mod metrics;
mod origin;
mod paths;
mod pre_session;
mod presented_token;
mod rejection;
mod settings;
mod state;
mod upgrade;
mod websocket;

use std::sync::Arc;

use axum::Router;

pub(crate) use client_files::CLIENT_PATH;
pub(crate) use descriptors::Descriptors;
pub(crate) use metrics::{RefusalReason, ServerMetrics};
pub(crate) use origin::check as check_origin;
pub use settings::Allow;
pub(crate) use settings::{Route, Settings};
use state::Handshakes;
pub(crate) use state::Server;

impl Server {
    /// The client library's files, and WebSockets at every other path.
    pub(crate) fn router(self) -> Router {
        let handshakes = Arc::new(Handshakes::new(self));
        client_files::router().fallback(websocket::websocket).with_state(handshakes)
    }
}
