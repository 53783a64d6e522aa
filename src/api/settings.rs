//! Settings of the API.

use std::net::SocketAddr;
use std::time::Duration;

/// The listener for back ends, and the time limit of requests.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where back ends publish and metrics are read; loopback by default.
    pub address: SocketAddr,
    /// Time for a request's body to arrive, and for the shards to answer.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 8081)), timeout: Duration::from_secs(10) }
    }
}
