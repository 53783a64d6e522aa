//! Wires the rooms: starts them in order, watches their tasks, stops them in order.

mod shard_config;
mod start_console;
mod start_sources;
mod start_tasks;
mod tasks;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use axum::Router;
use tokio::sync::watch;

use crate::api::{self, Api, GuessLimit, PeerCheck, Probes};
use crate::backend::{BackEnd, BackendError, Hook};
use crate::celery::TaskOperator;
use crate::channels::{AgreementError, DjangoLayer, MailboxNames};
use crate::config::Config;
use crate::console::Console;
use crate::coordinator::{self, Collaborators, Coordinator};
use crate::dev;
use crate::event::InstanceId;
use crate::http::{self, Listener, ListenerLimits};
use crate::hub::Hub;
use crate::identity::{ApiKeys, AuthFailure, IdentityError, Verifier};
use crate::layer::{Layer, LayerError};
use crate::publish::Publisher;
use crate::server::{self, Descriptors, RefusalReason, Server, ServerMetrics};
use crate::shutdown::{Phase, Shutdown};
use crate::socket;
use crate::sources::{AmqpSource, Sources};
use crate::supervisor::{Progress, ProgressWatch, Supervisor, TaskFailure};
use crate::telemetry::{Journal, Metrics};
use shard_config::shard_config;
use start_console::start_console;
use start_sources::{start_amqp, start_sources};
use start_tasks::start_tasks;
use tasks::Tasks;

/// How long a back end's connection may be idle between requests, as in nginx, so that back ends
/// can reuse connections after a pause.
const API_IDLE: Duration = Duration::from_secs(75);

/// How long a back end may use one connection, as in nginx.
const API_LIFE: Duration = Duration::from_secs(3600);

/// How long a browser may use one connection without an upgrade: enough to load the client.
const PUBLIC_LIFE: Duration = Duration::from_secs(60);

/// How long shutdown waits until the queue to Django's consumers is empty. A healthy Redis needs a
/// fraction of it for a full queue; one that does not answer must not block the exit.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(5);

/// The two listening sockets.
#[derive(Debug)]
pub struct Listeners {
    /// For browsers.
    pub public: TcpListener,
    /// For back ends.
    pub api: TcpListener,
}

impl Listeners {
    /// Opens both sockets. Ports may be 0.
    pub fn bind(config: &Config) -> Result<Self, RunError> {
        let bind = |key, address: SocketAddr| {
            http::bind(address).map_err(|source| RunError::Bind { key, address, source })
        };
        Ok(Self {
            public: bind("listen.public", config.server.public)?,
            api: bind("listen.api", config.api.address)?,
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

/// Why the gateway did not start, or stopped without being asked.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A listener's address is taken, or not of this machine.
    #[error("{key} cannot listen on {address}")]
    Bind {
        /// The configuration's key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The system has no sockets, threads or descriptors left.
    #[error("operating system resource unavailable")]
    System(#[from] io::Error),
    /// A key is invalid.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The layer did not start.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// Other instances of the cluster have another configuration.
    #[error(transparent)]
    Agreement(#[from] AgreementError),
    /// The back end's settings are invalid.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// No random bytes.
    #[error("system random source unavailable")]
    Random,
    /// A task without which events would be lost has failed.
    #[error(transparent)]
    Task(#[from] TaskFailure),
}

/// How shutdown ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Every connection was closed in time.
    Complete,
    /// The grace time ended first.
    TimedOut,
}

/// Runs one gateway until `stop`, then drains it.
///
/// The caller owns ports and signals, so a test can bind port 0 and stop the gateway at any time.
/// Several gateways may run in one process.
pub async fn run(
    config: Config,
    listeners: Listeners,
    stop: impl Future<Output = ()>,
) -> Result<DrainOutcome, RunError> {
    run_with(config, listeners, None, stop).await
}

/// As [`run`], with the page or the site of `groupcast dev` on the public listener.
pub async fn run_dev(
    config: Config,
    listeners: Listeners,
    session: dev::Session,
    stop: impl Future<Output = ()>,
) -> Result<DrainOutcome, RunError> {
    run_with(config, listeners, Some(session), stop).await
}

async fn run_with(
    config: Config,
    listeners: Listeners,
    session: Option<dev::Session>,
    stop: impl Future<Output = ()>,
) -> Result<DrainOutcome, RunError> {
    let grace = config.server.drain_grace;
    let gateway = Gateway::start(config, listeners, session)?;
    let supervisor = &gateway.tasks.supervisor;
    tokio::select! {
        () = stop => {}
        failure = supervisor.failed() => return Err(failure.into()),
        error = disagreement(gateway.core.sources.as_ref()) => return Err(error.into()),
        error = gateway.core.layer.wrong_server() => return Err(error.into()),
    }
    tokio::select! {
        outcome = gateway.stop(grace) => Ok(outcome),
        failure = supervisor.failed() => Err(failure.into()),
    }
}

/// A running gateway, as shutdown needs it.
struct Gateway {
    core: Core,
    tasks: Tasks,
}

/// The rooms that carry events, without listeners.
struct Core {
    layer: Layer,
    django: Option<DjangoLayer>,
    sources: Option<Sources>,
    amqp: Option<AmqpSource>,
    publisher: Arc<Publisher>,
    hub: Hub,
    hook: Option<Hook>,
    verifier: Arc<Verifier>,
    metrics: Arc<Metrics>,
    console: Console,
    task_operator: Option<TaskOperator>,
    journal: Arc<Journal>,
    /// The name of a shard or task that is stuck.
    stuck: watch::Receiver<Option<String>>,
    shutdown: Shutdown,
}

impl Gateway {
    /// Starts everything, each part after the parts that it uses:
    ///
    /// 1. keys and limits, which may be invalid, before anything runs;
    /// 2. the core: layer, publisher, hub, and what connects them;
    /// 3. the listeners last, so that the first client finds everything in place.
    fn start(
        config: Config,
        listeners: Listeners,
        session: Option<dev::Session>,
    ) -> Result<Self, RunError> {
        // `dev` chose these settings itself.
        let warnings = if session.is_none() { config.warnings() } else { Vec::new() };
        let verifier = Arc::new(Verifier::new(&config.identity)?);
        let api_keys = ApiKeys::new(&config.identity.api_keys)?;
        let settings = &config.server;
        let descriptors = Descriptors::raise(settings.max_connections, settings.max_handshakes)?;
        let max_connections = descriptors.sockets;

        let shutdown = Shutdown::new();
        let supervisor = Supervisor::new(shutdown.clone());
        let mut tasks = Tasks::new(supervisor);
        let core = Core::start(&config, verifier, shutdown, &mut tasks)?;

        let (public, api) = (listeners.public_addr()?, listeners.api_addr()?);
        let head = config.server.header_timeout;
        core.layer.advertise(api);
        let peers = PeerCheck::default();
        tasks.spawn("peer check", peers.clone().run(core.layer.clone()));
        let back_ends = core.api_router(config.api, api_keys, peers);
        let browsers = core.public_router(config.server, config.connection, max_connections);
        let is_dev = session.is_some();
        let (browsers, back_ends) = match session {
            Some(session) => session.extend((browsers, back_ends), &core.publisher, api),
            None => (browsers, back_ends),
        };
        let refusals = ServerMetrics::new(&core.metrics).refusals;
        let evictions = refusals.of(RefusalReason::Silent).clone();
        let limits = ListenerLimits {
            connections: descriptors.handshakes,
            waiting: descriptors.waiting,
            head,
            idle: head,
            // The pages of a site may take any time to load.
            life: if is_dev { API_LIFE } else { PUBLIC_LIFE },
        };
        let listener =
            Listener::new("public", listeners.public, browsers, limits, evictions.clone())?;
        tasks.spawn("public listener", listener.serve(core.shutdown.clone(), Phase::Draining));
        let limits = ListenerLimits {
            connections: descriptors.api,
            waiting: descriptors.waiting,
            head,
            idle: head.max(API_IDLE),
            life: API_LIFE,
        };
        let listener = Listener::new("api", listeners.api, back_ends, limits, evictions)?;
        tasks.spawn("API listener", listener.serve(core.shutdown.clone(), Phase::Closed));

        let instance = core.hub.instance();
        tracing::info!(%public, %api, %instance, max_connections, "listening");
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(Self { core, tasks })
    }

    /// Stops everything, beginning with what accepts new work:
    ///
    /// 1. the public listener, and readiness, so that proxies send browsers elsewhere;
    /// 2. sources: later entries are for other instances, or for the next start;
    /// 3. connections, at a rate that the other instances can take;
    /// 4. the API, which has to answer publishers and probes until then;
    /// 5. the queue to Django's consumers.
    async fn stop(&self, grace: Duration) -> DrainOutcome {
        let Core { hub, shutdown, django, sources, amqp, .. } = &self.core;
        shutdown.drain();
        if let Some(amqp) = amqp {
            amqp.stop();
        }
        if let Some(sources) = sources {
            sources.stop();
        }
        tracing::info!(connections = hub.connections(), ?grace, "draining");
        let complete = hub.drain(grace).await;
        shutdown.close();
        if let Some(queue) = django.as_ref().and_then(|django| django.forward_queue.as_ref()) {
            queue.flush(FORWARD_TIMEOUT).await;
        }
        if complete { DrainOutcome::Complete } else { DrainOutcome::TimedOut }
    }
}

impl Core {
    /// Starts the layer, which the channel layer and the publisher use; then the hub; then the
    /// coordinator, which serves the hub, and dispatch, which feeds it.
    fn start(
        config: &Config,
        verifier: Arc<Verifier>,
        shutdown: Shutdown,
        tasks: &mut Tasks,
    ) -> Result<Self, RunError> {
        let metrics = Arc::new(Metrics::new());
        let instance = InstanceId::from_random(random()?);
        let (layer, inbox) = Layer::start(&config.layer, instance, Arc::clone(&metrics))?;
        let (django, sources) = start_sources(config, &layer, &metrics, &tasks.supervisor)?.unzip();
        let forward_queue = django.as_ref().and_then(|django| django.forward_queue.clone());
        let amqp = start_amqp(config, &layer, &forward_queue, &metrics, &tasks.supervisor);
        let publisher = Publisher::new(config.publish.clone(), layer.clone());
        let publisher = Arc::new(publisher.with_forwarding(forward_queue));

        let shard_config = shard_config(config, &verifier, &metrics, layer.member_counts());
        let (hub, requests) = Hub::start(instance, config.hub.clone(), shard_config)?;
        let back_end = BackEnd::new(&config.backend, &verifier, &layer, &metrics)?;
        let (watcher, starter) =
            start_tasks(config, &layer, &hub, &metrics, |name, task| tasks.spawn(name, task))?
                .unzip();
        let starter = starter.flatten();
        let task_operator = watcher.clone().map(|it| TaskOperator::new(it, starter.clone()));
        let hook = back_end.hook.clone();
        let collaborators = Collaborators {
            layer: layer.clone(),
            registrar: django.as_ref().map(|django| django.registrar.clone()),
            tasks: watcher,
            starter,
            mailboxes: django.as_ref().and_then(|django| django.mailboxes.clone()),
            publisher: Arc::clone(&publisher),
            backend: back_end,
        };
        let coordinator = Coordinator::new(
            &config.coordinator,
            hub.clone(),
            collaborators,
            &metrics,
            shutdown.clone(),
        );
        tasks.spawn("coordinator", coordinator.serve(requests));
        let pubsub = django.as_ref().map(|django| django.pubsub.clone());
        let steps = Progress::default();
        let stuck = watch_progress(&hub, &steps, tasks);
        let journal = Arc::new(Journal::default());
        let told = (hook.clone(), Arc::clone(&journal));
        let dispatch =
            coordinator::dispatch(inbox, hub.clone(), layer.clone(), pubsub, told, steps);
        tasks.spawn("dispatch", dispatch);
        let console = start_console(&hub, &layer, &metrics, &journal, config.amqp.as_ref(), tasks);
        Ok(Self {
            layer,
            django,
            sources,
            amqp,
            publisher,
            hub,
            hook,
            verifier,
            metrics,
            console,
            task_operator,
            journal,
            stuck,
            shutdown,
        })
    }

    fn mailboxes(&self) -> Option<MailboxNames> {
        self.django.as_ref().and_then(|django| django.mailboxes.clone())
    }

    /// What back ends and operators use.
    fn api_router(&self, settings: api::Settings, keys: ApiKeys, peers: PeerCheck) -> Router {
        let probes = Probes {
            metrics: Arc::clone(&self.metrics),
            hub: self.hub.clone(),
            layer: self.layer.clone(),
            sources: self.sources.clone(),
            amqp: self.amqp.clone(),
            peers,
            stuck: self.stuck.clone(),
            shutdown: self.shutdown.clone(),
        };
        let api = Api {
            publisher: Arc::clone(&self.publisher),
            hub: self.hub.clone(),
            keys,
            mailboxes: self.mailboxes(),
            auth_failures: AuthFailure::counters(&self.metrics),
            metrics: Arc::clone(&self.metrics),
            console: self.console.clone(),
            tasks: self.task_operator.clone(),
            guesses: GuessLimit::default(),
            settings,
        };
        probes.router().merge(api.router())
    }

    /// What browsers use.
    fn public_router(
        &self,
        settings: server::Settings,
        connection: socket::Settings,
        max_connections: usize,
    ) -> Router {
        let server = Server {
            settings,
            connection,
            max_connections,
            verifier: Arc::clone(&self.verifier),
            hook: self.hook.clone(),
            mailboxes: self.mailboxes(),
            hub: self.hub.clone(),
            layer: self.layer.clone(),
            by_label: ServerMetrics::new(&self.metrics),
            journal: Arc::clone(&self.journal),
            metrics: Arc::clone(&self.metrics),
            shutdown: self.shutdown.clone(),
        };
        server.router()
    }
}

/// Watches the shards and dispatch. Returns the name of one that is stuck, as it changes.
fn watch_progress(
    hub: &Hub,
    dispatch: &Progress,
    tasks: &mut Tasks,
) -> watch::Receiver<Option<String>> {
    let dispatch = [("dispatch".to_owned(), dispatch.clone())];
    let watch = ProgressWatch::new(hub.progress().chain(dispatch));
    let stuck = watch.stuck();
    tasks.spawn("progress watch", watch.run());
    stuck
}

/// Waits until another instance turns out to have a different configuration, if ever.
async fn disagreement(sources: Option<&Sources>) -> AgreementError {
    match sources {
        Some(sources) => sources.disagreement().await,
        None => std::future::pending().await,
    }
}

fn random<const N: usize>() -> Result<[u8; N], RunError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| RunError::Random)?;
    Ok(bytes)
}
