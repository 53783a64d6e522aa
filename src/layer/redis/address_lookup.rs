//! Finds the address of each new connection, and reads again what may have changed since the last.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use fred::bytes_utils::Str;
use fred::error::{Error, ErrorKind};
use fred::interfaces::FredResult;
use fred::types::Resolve;
use fred::types::config::{Server, ServerConfig, TlsConfig};
use parking_lot::Mutex;
use tokio::net::lookup_host;
use tokio::task::spawn_blocking;

use crate::layer::address::Location;
use crate::layer::{LayerError, RedisAddress};
use crate::tls::FollowedFiles;

/// Finds the addresses of one client's connections. Clones share it.
#[derive(Clone)]
pub(super) struct AddressLookup(Arc<State>);

struct State {
    location: Location,
    tls: Option<FollowedFiles>,
    server_name: Option<String>,
    /// Where the latest connection led.
    target: Mutex<Option<SocketAddr>>,
    /// What is wrong with the files of TLS.
    fault: Mutex<Option<String>>,
}

impl AddressLookup {
    /// # Errors
    /// [`LayerError::Files`]
    pub(super) fn new(address: &RedisAddress) -> Result<Self, LayerError> {
        let settings = address.tls.as_ref();
        let tls = settings.map(|settings| FollowedFiles::new(settings, true)).transpose();
        Ok(Self(Arc::new(State {
            location: address.location.clone(),
            tls: tls.map_err(|fault| LayerError::Files(fault.to_string()))?,
            server_name: settings.and_then(|settings| settings.server_name.clone()),
            target: Mutex::default(),
            fault: Mutex::default(),
        })))
    }

    /// The server in the client library's form.
    pub(super) fn server(&self) -> ServerConfig {
        match &self.0.location {
            Location::Socket(path) => ServerConfig::Unix { path: path.clone() },
            Location::Host(host, port) => {
                let name = self.0.server_name.clone();
                let server = Server::new_with_tls(host.clone(), *port, name);
                ServerConfig::Centralized { server }
            }
        }
    }

    /// Encryption in the client library's form.
    pub(super) fn tls(&self) -> Option<TlsConfig> {
        self.0.tls.as_ref().map(|files| files.connector().into())
    }

    /// What looks up the address of each connection.
    pub(super) fn resolver(&self) -> Arc<dyn Resolve> {
        Arc::new(self.clone())
    }

    /// Where the latest connection led; a socket leads to this machine.
    pub(super) fn target(&self) -> Option<SocketAddr> {
        match &self.0.location {
            Location::Socket(_) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            Location::Host(..) => *self.0.target.lock(),
        }
    }

    async fn find(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        self.read_files().await;
        let found: Vec<_> = lookup_host((host, port)).await?.collect();
        let first = *found
            .first()
            .ok_or_else(|| Error::new(ErrorKind::IO, format!("{host} has no address")))?;
        *self.0.target.lock() = Some(first);
        Ok(found)
    }

    /// With files that are half written, what was read before them may still be right: the server
    /// decides.
    async fn read_files(&self) {
        let Some(tls) = self.0.tls.clone() else { return };
        let Ok(read) = spawn_blocking(move || tls.reload()).await else { return };
        let fault = read.err().map(|fault| fault.to_string());
        let known = std::mem::replace(&mut *self.0.fault.lock(), fault.clone());
        match fault {
            Some(fault) if known.as_ref() != Some(&fault) => {
                tracing::error!(fault, "files of TLS to Redis not read; the earlier ones are used");
            }
            None if known.is_some() => tracing::info!("files of TLS to Redis read again"),
            _ => {}
        }
    }
}

// The trait is written for the crate async-trait; this is what that would make of it.
impl Resolve for AddressLookup {
    fn resolve<'life0, 'async_trait>(
        &'life0 self,
        host: Str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = FredResult<Vec<SocketAddr>>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move { self.find(&host, port).await })
    }
}
