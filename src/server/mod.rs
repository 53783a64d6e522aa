//! The front publisher: listeners, handshakes, the API. The only room that knows axum and hyper.

pub mod api;
mod assets;
mod credential;
mod descriptors;
mod handshake;
mod identify;
mod listen;
mod operation;
mod origin;
mod paths;
mod pre_session;
pub mod problem;
mod settings;
mod site;
mod websocket;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::sync::Semaphore;

pub use descriptors::{descriptors, sockets_within};
pub use settings::{Allow, DevSettings, Route, Settings};

use crate::backend::Hook;
use crate::channels::ChannelLayer;
use crate::hub::Hub;
use crate::identity::{ApiKeys, Verifier};
use crate::layer::Layer;
use crate::publish::Publisher;
use crate::shutdown::{Phase, Shutdown};
use crate::socket;
use crate::telemetry::Metrics;
use listen::Listener;
use operation::Operation;
use paths::RoutePath;
use site::Site;
use websocket::Front;

/// Most connections to the API that are open at once. Each is a descriptor and a buffer; requests
/// under way have a tighter bound of their own.
const MAX_API_CONNECTIONS: usize = 1024;

/// How long a back end's connection may rest between requests, as in nginx: one that keeps its
/// connections must not find them closed after each pause.
const API_REST: Duration = Duration::from_secs(75);

/// What the front publisher works with.
pub struct Doors {
    /// What it was told.
    pub settings: Settings,
    /// Bounds of every connection, kept from the first frame on.
    pub connection: socket::Settings,
    /// Most WebSockets, worked out from the settings and the limit on descriptors.
    pub max_connections: usize,
    /// Checks tokens.
    pub verifier: Arc<Verifier>,
    /// Says who somebody without a token is.
    pub hook: Option<Hook>,
    /// Keys of back ends.
    pub api_keys: ApiKeys,
    /// Where sockets go.
    pub hub: Hub,
    /// Where events go.
    pub publisher: Arc<Publisher>,
    /// Whether events get through.
    pub layer: Layer,
    /// Whether what waits in foreign sources gets through, if there are any.
    pub channel_layer: Option<ChannelLayer>,
    /// Where is counted.
    pub metrics: Arc<Metrics>,
    /// How far the process is.
    pub shutdown: Shutdown,
}

impl Doors {
    /// Opens both doors. Browsers are turned away as soon as draining begins; the API answers until
    /// everything is closed, so that publishers and probes learn what is going on.
    pub fn open(self, public: TcpListener, api: TcpListener) -> io::Result<()> {
        let shutdown = self.shutdown.clone();
        let header_timeout = self.settings.header_timeout;
        let slots = Arc::new(Semaphore::new(self.settings.max_handshakes));
        let (browsers, back_ends) = self.routers(api.local_addr()?);
        let public =
            Listener { socket: tokio_listener(public)?, router: browsers, slots, header_timeout };
        let slots = Arc::new(Semaphore::new(MAX_API_CONNECTIONS));
        let header_timeout = header_timeout.max(API_REST);
        let api =
            Listener { socket: tokio_listener(api)?, router: back_ends, slots, header_timeout };
        tokio::spawn(public.serve(shutdown.clone(), Phase::Draining));
        tokio::spawn(api.serve(shutdown, Phase::Closed));
        Ok(())
    }

    fn routers(self, api_address: SocketAddr) -> (Router, Router) {
        let Self {
            settings,
            connection,
            max_connections,
            verifier,
            hook,
            api_keys,
            hub,
            publisher,
            layer,
            channel_layer,
            metrics,
            shutdown,
        } = self;
        let operation = Operation {
            metrics: Arc::clone(&metrics),
            hub: hub.clone(),
            layer,
            channel_layer: channel_layer.clone(),
            shutdown: shutdown.clone(),
        };
        let timeout = settings.api_timeout;
        let api = api::Api::new(
            Arc::clone(&publisher),
            hub.clone(),
            api_keys,
            Arc::clone(&metrics),
            timeout,
        )
        .with_channel_layer(channel_layer.clone());
        let back_ends = operation.router().merge(api.router());
        let assets = assets::router(settings.dev.as_ref(), publisher, api_address);
        let paths = settings.routes.iter().map(RoutePath::new).collect();
        let site = settings.dev.as_ref().and_then(|dev| dev.site.as_deref());
        let front = Front {
            site: site.map(Site::new).transpose().expect("the command has checked it"),
            settings,
            paths,
            max_connections,
            connection,
            verifier,
            hook,
            channel_layer,
            hub,
            metrics,
            shutdown,
        };
        let browsers = assets.fallback(front_door).with_state(Arc::new(front));
        (browsers, back_ends)
    }
}

/// WebSockets, and in `dev` the site beside them.
async fn front_door(State(front): State<Arc<Front>>, request: Request) -> Response {
    match &front.site {
        Some(site) if Site::wants(&request) => site.pass(request).await,
        _ => websocket::websocket(State(front), request).await,
    }
}

fn tokio_listener(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}
