//! Settings of the public listener, and of the routes on it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::Template;

/// The public listener, the limits of a handshake, and the routes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where browsers connect.
    pub public: SocketAddr,
    /// Most WebSockets; 0 = as many as the limit on open files allows, after a reserve.
    pub max_connections: usize,
    /// The most connections that are not a WebSocket yet; more wait in the listen queue.
    pub max_handshakes: usize,
    /// Time for a request's headers to arrive.
    pub header_timeout: Duration,
    /// Time from the upgrade to the `hello`.
    pub hello_timeout: Duration,
    /// Name of the cookie that may carry the token; empty = none.
    pub token_cookie: String,
    /// Query parameter that may carry the token; empty = none. URLs end up in logs.
    pub token_parameter: String,
    /// Allowed origins in addition to the request's own Host, exact, such as
    /// `https://shop.example`.
    pub allowed_origins: Vec<String>,
    /// The time within which clients reconnect, milliseconds in `welcome.retry_ms`.
    pub retry_window: Duration,
    /// Longest time that draining may take at shutdown.
    pub drain_grace: Duration,
    /// Paths of WebSockets, the first match wins.
    pub routes: Vec<Route>,
}

/// One WebSocket path and what connecting to it means.
#[derive(Debug, Clone)]
pub struct Route {
    /// The whole path, with `{name}` for one segment: `/ws/chat/{room}/`.
    pub path: String,
    /// Groups that the connection joins, with `{sub}`, claims and path parameters filled in.
    pub join: Vec<Template>,
    /// Who may authenticate a browser here.
    pub allow: Allow,
    /// Whether plain connections receive the errors of their calls.
    pub call_errors: bool,
    /// Sent first to plain connections, unchanged: one JSON object.
    pub welcome: Option<String>,
    /// The shape of events on plain connections: an index into the hub's shapes.
    pub shape: u16,
}

/// Who may authenticate a browser on a route, and whether path parameters may name groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allow {
    /// A token, else the hook; no path parameter is filled into `join`.
    #[default]
    Token,
    /// As before, and any authenticated browser may choose path parameters in `join`.
    Anyone,
    /// Only the hook. It receives the path and its parameters, and confirms them by accepting.
    Hook,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_connections: 0,
            max_handshakes: 1024,
            header_timeout: Duration::from_secs(10),
            hello_timeout: Duration::from_secs(10),
            token_cookie: String::new(),
            token_parameter: String::new(),
            allowed_origins: Vec::new(),
            retry_window: Duration::from_secs(5),
            drain_grace: Duration::from_secs(30),
            routes: Vec::new(),
        }
    }
}
