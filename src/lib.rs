//! Groupcast: a real-time WebSocket channel-layer gateway.
//!
//! # One message, a straight walk
//!
//! 1. [`server`]: `api::send::to_group` checks the key, the name and the event of a `POST`.
//! 2. [`publish`]: `Publisher::publish` bounds, deduplicates and numbers it, and asks the layer.
//! 3. [`layer`]: `Layer::publish` carries it to every instance that wants the group.
//! 4. [`relay`]: `dispatch` takes what the layer has, in order.
//! 5. [`hub`]: `Hub::post` posts it to the shards that have members.
//! 6. [`hub`]: `Delivery::fan_out` frames it once and links every receiver to the frame.
//! 7. [`hub`]: `Delivery::write_out` writes each socket once; what it does not take waits in the
//!    [`connection`]'s bounded outbox.
//!
//! `ARCHITECTURE.md` has the other walks, the rooms and what each of them must never know.

pub mod backend;
mod bounded_map;
mod byte_budget;
pub mod channels;
pub mod clock;
pub mod config;
pub mod coordinator;
pub mod event;
pub mod excerpt;
pub mod frame;
pub mod group;
pub mod hub;
pub mod identity;
pub mod layer;
pub mod protocol;
pub mod publish;
pub mod server;
pub mod shutdown;
pub mod socket;
pub mod telemetry;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use socket2::{Domain, Socket, Type};

use backend::{BackEnd, BackendError};
use channels::{ChannelLayer, ChannelsError};
use config::Config;
use coordinator::{Collaborators, Coordinator};
use event::InstanceId;
use frame::Frame;
use hub::{Hub, RouteConfig, ShardConfig};
use identity::{ApiKeys, IdentityError, Policy, Verifier};
use layer::{Layer, LayerError};
use publish::Publisher;
use server::Doors;
use shutdown::Shutdown;
use telemetry::Metrics;

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
    /// Sockets, threads or descriptors are not to be had.
    #[error("the system refuses what the gateway needs")]
    System(#[from] io::Error),
    /// Keys cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The layer cannot be had.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// Other instances of the cluster are set up otherwise.
    #[error(transparent)]
    ChannelLayer(#[from] ChannelsError),
    /// The back end cannot be asked as configured.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// How the end came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Every connection was closed in time.
    Complete,
    /// The grace time was over before.
    TimedOut,
}

impl Listeners {
    /// Opens both doors. Ports may be 0.
    pub fn bind(settings: &server::Settings) -> Result<Self, StartError> {
        let bind = |key, address: SocketAddr| {
            listen(address).map_err(|source| StartError::Bind { key, address, source })
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

/// Handshakes that the kernel completes before they are accepted; `net.core.somaxconn`, 4096 by
/// default, may cut it. The standard library's 128 lets a wave of reconnections run into lost SYNs
/// and their whole seconds of waiting.
pub const BACKLOG: i32 = 4096;

/// How long the end waits for what Django's consumers are yet to be sent: a full queue takes a well Redis
/// a fraction of it, and one that does not answer must not keep the process.
const LAST_WORDS: Duration = Duration::from_secs(5);

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for the last run's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Runs one gateway until `stop`, then drains it.
///
/// The caller owns ports and signals, so a test binds port 0 and stops when it likes; several
/// gateways may run in one process.
pub async fn run(
    config: Config,
    listeners: Listeners,
    stop: impl Future<Output = ()>,
) -> Result<DrainOutcome, StartError> {
    let shutdown = Shutdown::new();
    let metrics = Arc::new(Metrics::new());
    let verifier = Arc::new(Verifier::new(&config.identity)?);
    let api_keys = ApiKeys::new(&config.identity.api_keys)?;
    let max_connections = server::descriptors(config.server.max_connections)?;

    let instance = InstanceId::from_random(random()?);
    let (layer, inbox) = Layer::start(&config.layer, instance, Arc::clone(&metrics))?;
    let channel_layer = ChannelLayer::start(
        &config.channels,
        &layer,
        config.publish.max_event_bytes,
        Arc::clone(&metrics.channels),
    )?;
    let consumers = channel_layer.as_ref().and_then(ChannelLayer::consumers);
    let publisher = Arc::new(
        Publisher::new(config.publish.clone(), layer.clone()).with_consumers(consumers.clone()),
    );
    let shard_config = shard_config(&config, Arc::clone(&verifier), Arc::clone(&metrics));
    let (hub, requests) = Hub::start(instance, config.hub.clone(), shard_config)?;

    let back_end = BackEnd::new(&config.backend, &verifier, &layer, &metrics)?;
    let hook = back_end.hook.clone();
    let coordinator = Coordinator::new(
        &config.coordinator,
        hub.clone(),
        Collaborators {
            layer: layer.clone(),
            channel_layer: channel_layer.clone(),
            publisher: Arc::clone(&publisher),
            backend: back_end,
        },
        Arc::clone(&metrics),
        shutdown.clone(),
    );
    tokio::spawn(coordinator.serve(requests));
    tokio::spawn(coordinator::dispatch(inbox, hub.clone(), layer.clone(), channel_layer.clone()));

    let (public, api) = (listeners.public_addr()?, listeners.api_addr()?);
    let grace = config.server.drain_grace;
    let doors = Doors {
        settings: config.server,
        connection: config.connection,
        max_connections,
        verifier,
        hook,
        api_keys,
        hub: hub.clone(),
        publisher,
        layer,
        channel_layer: channel_layer.clone(),
        metrics,
        shutdown: shutdown.clone(),
    };
    doors.open(listeners.public, listeners.api)?;
    tracing::info!(%public, %api, %instance, max_connections, "listening");

    tokio::select! {
        () = stop => {}
        error = disagreement(channel_layer.as_ref()) => return Err(error.into()),
    }
    shutdown.drain();
    if let Some(channel_layer) = &channel_layer {
        channel_layer.rest();
    }
    tracing::info!(connections = hub.connections(), ?grace, "draining");
    let whole = hub.drain(grace).await;
    shutdown.close();
    if let Some(consumers) = consumers {
        consumers.settled(LAST_WORDS).await;
    }
    Ok(if whole { DrainOutcome::Complete } else { DrainOutcome::TimedOut })
}

/// Waits for the channel_layer to find that this instance cannot work with the others.
async fn disagreement(channel_layer: Option<&ChannelLayer>) -> ChannelsError {
    match channel_layer {
        Some(channel_layer) => channel_layer.disagreement().await,
        None => std::future::pending().await,
    }
}

/// What every shard knows of the configuration.
fn shard_config(config: &Config, verifier: Arc<Verifier>, metrics: Arc<Metrics>) -> ShardConfig {
    let view = |route: &server::Route| RouteConfig {
        path: route.path.as_str().into(),
        call_errors: route.call_errors,
        join: route.join.clone(),
        welcome: route.welcome.as_ref().map(|json| Frame::text(json.as_bytes())),
    };
    ShardConfig {
        connection: config.connection.clone(),
        shapes: config.shapes.clone(),
        routes: config.server.routes.iter().map(view).collect(),
        verifier,
        policy: Arc::new(Policy::new(&config.identity.grants)),
        metrics,
        retry_window: config.server.retry_window,
    }
}

fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| StartError::Random)?;
    Ok(bytes)
}
