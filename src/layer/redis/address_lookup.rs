//! Finds the address of each new connection, and reads again what may have changed since the last.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fred::bytes_utils::Str;
use fred::error::{Error, ErrorKind};
use fred::interfaces::FredResult;
use fred::types::Resolve;
use fred::types::config::{Server, ServerConfig, TlsConfig};
use parking_lot::Mutex;
use tokio::net::lookup_host;
use tokio::task::spawn_blocking;

use crate::layer::address::{Location, NamedPrimary, SentinelFault, Sentinels};
use crate::layer::{LayerError, RedisAddress};
use crate::tls::{FollowedFiles, ServerName};

/// What the client library calls a server whose address sentinels know.
const BY_SENTINELS: (&str, u16) = ("primary", 6379);

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
    /// How many connections were begun.
    begun: AtomicU64,
    /// How often the primary had moved at the latest connection.
    moves: AtomicU64,
}

impl AddressLookup {
    /// # Errors
    /// [`LayerError::Files`]
    pub(super) fn new(address: &RedisAddress) -> Result<Self, LayerError> {
        let settings = address.tls.as_ref();
        let is_named = !matches!(address.location, Location::Sentinels(_));
        let tls = settings.map(|settings| FollowedFiles::new(settings, is_named)).transpose();
        Ok(Self(Arc::new(State {
            location: address.location.clone(),
            tls: tls.map_err(|fault| LayerError::Files(fault.to_string()))?,
            server_name: settings.and_then(|settings| settings.server_name.clone()),
            target: Mutex::default(),
            fault: Mutex::default(),
            begun: AtomicU64::default(),
            moves: AtomicU64::default(),
        })))
    }

    /// The server in the client library's form.
    pub(super) fn server(&self) -> ServerConfig {
        match &self.0.location {
            Location::Socket(path) => ServerConfig::Unix { path: path.clone() },
            Location::Host(host, port) => self.named(host, *port),
            Location::Sentinels(_) => self.named(BY_SENTINELS.0, BY_SENTINELS.1),
        }
    }

    fn named(&self, host: &str, port: u16) -> ServerConfig {
        let server = Server::new_with_tls(host, port, self.0.server_name.clone());
        ServerConfig::Centralized { server }
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
            Location::Host(..) | Location::Sentinels(_) => *self.0.target.lock(),
        }
    }

    /// Numbers the connections: what was true on an earlier one need not be true on this. `None` =
    /// sentinels have named another primary since it was made.
    pub(super) fn connection(&self) -> Option<u64> {
        let moved = self.sentinels().is_some_and(|sentinels| {
            sentinels.known.moves() != self.0.moves.load(Ordering::Acquire)
        });
        (!moved).then(|| self.0.begun.load(Ordering::Acquire))
    }

    /// The sentinels that know the address, if any do.
    pub(super) fn sentinels(&self) -> Option<&Sentinels> {
        match &self.0.location {
            Location::Sentinels(sentinels) => Some(sentinels),
            Location::Host(..) | Location::Socket(_) => None,
        }
    }

    async fn find(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        self.0.begun.fetch_add(1, Ordering::AcqRel);
        self.read_files().await;
        let Some(sentinels) = self.sentinels() else { return self.find_host(host, port).await };
        let error = |fault: SentinelFault| {
            let kind = if fault.is_refusal { ErrorKind::Auth } else { ErrorKind::IO };
            Error::new(kind, fault.words)
        };
        sentinels.known.primary().await.map_err(error)?;
        self.0.moves.store(sentinels.known.moves(), Ordering::Release);
        let primary = sentinels.known.primary().await.map_err(error)?;
        self.expect(&primary);
        self.find_host(&primary.host, primary.port).await
    }

    /// The certificate must name the host that the sentinels named, unless it has a name in the
    /// configuration.
    fn expect(&self, primary: &NamedPrimary) {
        if let (Some(tls), None) = (&self.0.tls, &self.0.server_name)
            && let Ok(name) = ServerName::try_from(primary.host.clone())
        {
            tls.expect(name);
        }
    }

    async fn find_host(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
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
