//! What the front publisher can be told.

use std::net::SocketAddr;
use std::time::Duration;

use crate::identity::Template;

/// The listeners and the bounds of a handshake.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where browsers connect.
    pub public: SocketAddr,
    /// Where back ends publish and metrics are read; loopback by default.
    pub api: SocketAddr,
    /// Most WebSockets; 0 = what the limit on file descriptors leaves after a reserve.
    pub max_connections: usize,
    /// Most connections that have not become a WebSocket yet; more wait in the listen queue.
    pub max_handshakes: usize,
    /// Time for a request's headers to arrive.
    pub header_timeout: Duration,
    /// Time from the upgrade to the `hello`.
    pub hello_timeout: Duration,
    /// Time for a whole API request, its body included.
    pub api_timeout: Duration,
    /// Name of the cookie that may carry the token; empty = none.
    pub token_cookie: String,
    /// Query parameter that may carry the token; empty = none. URLs end up in logs.
    pub token_parameter: String,
    /// Origins beside the request's own Host that browsers may come from, exact, such as
    /// `https://tienda.example`.
    pub allowed_origins: Vec<String>,
    /// The window named to clients that should come back, milliseconds in `welcome.retry_ms`.
    pub retry_window: Duration,
    /// Longest time that draining may take.
    pub drain_grace: Duration,
    /// Paths of WebSockets, the first match wins.
    pub routes: Vec<Route>,
    /// Set by `dev` only: the demo page.
    pub dev: Option<DevSettings>,
}

/// One WebSocket path and what connecting to it means.
#[derive(Debug, Clone)]
pub struct Route {
    /// The whole path, `{name}` standing for one segment: `/ws/chat/{sala}/`.
    pub path: String,
    /// Groups that the connection joins, with `{sub}`, claims and path parameters filled in.
    pub join: Vec<Template>,
    /// Whose word counts here.
    pub allow: Allow,
    /// Whether plain connections are told of calls that fail.
    pub call_errors: bool,
    /// Sent to plain connections first, as it is: one JSON object.
    pub welcome: Option<String>,
    /// How events are shown to plain connections: an index into the hub's shapes.
    pub shape: u16,
}

/// Whose word counts on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allow {
    /// A token's, else the hook's; no path parameter is filled into `join`.
    Token,
    /// As before, and whoever is somebody may fill path parameters into `join`.
    Anyone,
    /// The hook's alone. It sees the path and its parameters, and accepting confirms them.
    Hook,
}

/// What the demo page needs to know.
#[derive(Debug, Clone)]
pub struct DevSettings {
    /// A token for the page.
    pub token: String,
    /// Whose token it is.
    pub sub: String,
    /// A group that the token joins.
    pub group: String,
    /// The WebSocket path that the page connects to.
    pub path: String,
    /// Key for the line that publishes.
    pub api_key: String,
    /// `host:port` of the site that answers everything else, in the place of the page.
    pub site: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public: SocketAddr::from(([127, 0, 0, 1], 8080)),
            api: SocketAddr::from(([127, 0, 0, 1], 8081)),
            max_connections: 0,
            max_handshakes: 1024,
            header_timeout: Duration::from_secs(10),
            hello_timeout: Duration::from_secs(10),
            api_timeout: Duration::from_secs(10),
            token_cookie: String::new(),
            token_parameter: String::new(),
            allowed_origins: Vec::new(),
            retry_window: Duration::from_secs(5),
            drain_grace: Duration::from_secs(30),
            routes: Vec::new(),
            dev: None,
        }
    }
}
