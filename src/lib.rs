//! Groupcast: a real-time WebSocket channel-layer gateway.

pub mod config;
pub mod connection;
pub mod event;
pub mod frame;
pub mod group;
pub mod hub;
pub mod identity;
pub mod layer;
pub mod protocol;
pub mod publish;
pub mod relay;
pub mod server;
pub mod shutdown;
pub mod telemetry;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};

use config::Config;

/// The two doors, open.
#[derive(Debug)]
pub struct Listeners {
    /// For browsers.
    pub public: TcpListener,
    /// For back ends.
    pub api: TcpListener,
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be had.
    #[error("{key} cannot listen on {address}")]
    Bind {
        /// The configuration's key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A listener of ours does not say where it is.
    #[error("a listener has no address")]
    Address(#[from] io::Error),
}

/// How the end came.
#[derive(Debug)]
pub enum Drained {
    /// Every connection was closed in time.
    Whole,
}

impl Listeners {
    /// Opens both doors. Ports may be 0.
    pub fn bind(settings: &server::Settings) -> Result<Self, StartError> {
        let bind = |key, address: SocketAddr| {
            TcpListener::bind(address).map_err(|source| StartError::Bind { key, address, source })
        };
        Ok(Self {
            public: bind("listen.public", settings.public)?,
            api: bind("listen.api", settings.api)?,
        })
    }

    /// Where browsers connect.
    pub fn public_addr(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Where back ends connect.
    pub fn api_addr(&self) -> io::Result<SocketAddr> {
        self.api.local_addr()
    }
}

/// Placeholder of the signature that `cmd` relies on.
pub async fn run(
    _config: Config,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) -> Result<Drained, StartError> {
    let (public, api) = (listeners.public_addr()?, listeners.api_addr()?);
    tracing::info!(%public, %api, "listening");
    shutdown.await;
    Ok(Drained::Whole)
}
