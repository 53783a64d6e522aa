//! A Redis besides the layer's, on which sources are: a connection, its notifications, heartbeats.
//!
//! It can be away while the layer delivers, and the other way round. As the layer's, its data has
//! generations: a restart, a failover and a flush begin one, and what was lost is told once.

mod heartbeat;
mod state;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::EventInterface;
use tokio::sync::watch;

use super::connect::{self, AbortOnDrop, Commands};
use super::kept_connection::keep_connected;
use super::key_changes::{self, KeyChanges};
use super::reply::FromReply;
use super::script::{Script, ScriptError};
use crate::event::InstanceId;
use crate::layer::{LayerError, RedisSettings};
use heartbeat::RemoteHeartbeat;
use state::RemoteState;

/// A server on which sources are. Clones share the connection; it ends with the last one.
#[derive(Clone)]
pub struct RemoteRedis(Arc<Shared>);

struct Shared {
    commands: Commands,
    /// The prefix of the gateway's own keys there.
    cluster: String,
    place: String,
    /// Whether writes to keys are notified at present.
    tracking: Arc<AtomicBool>,
    state: Arc<RemoteState>,
    /// Aborted with the last clone.
    _tasks: Vec<AbortOnDrop<()>>,
}

impl RemoteRedis {
    /// Starts connecting, with retries; must be called within a runtime. Keys of the gateway begin
    /// with `cluster`; writes to keys with these `prefixes` are notified; what the server holds
    /// expires after `expiry`.
    ///
    /// # Errors
    /// [`LayerError::Files`].
    pub(crate) fn open(
        settings: &RedisSettings,
        (cluster, instance): (&str, InstanceId),
        prefixes: Vec<String>,
        expiry: Duration,
    ) -> Result<(Self, KeyChanges), LayerError> {
        let (client, lookup) = connect::client(settings, key_changes::WAITING)?;
        let tracking = Arc::new(AtomicBool::new(false));
        let changes = KeyChanges::new(&client);
        let commands = connect::commands(&client, settings);
        let state = Arc::new(RemoteState::default());
        let key = |name: &str| format!("{cluster}:remote:{name}");
        let heartbeat = RemoteHeartbeat {
            commands: commands.clone(),
            reconnects: client.reconnect_rx(),
            errors: client.error_rx(),
            client: client.clone(),
            keys: vec![key(GENERATION), key(INSTANCES)],
            instance,
            expiry,
            place: settings.place(),
            state: Arc::clone(&state),
        };
        let track = key_changes::track(client.clone(), prefixes, Arc::clone(&tracking));
        let connected = keep_connected(settings, client, lookup, "sources elsewhere");
        let tasks = vec![
            connected,
            AbortOnDrop(tokio::spawn(track)),
            AbortOnDrop(tokio::spawn(heartbeat.run())),
        ];
        let cluster = cluster.to_owned();
        let place = settings.place();
        let shared = Shared { commands, cluster, place, tracking, state, _tasks: tasks };
        Ok((Self(Arc::new(shared)), changes))
    }

    /// Runs a script.
    ///
    /// # Errors
    /// After [`ScriptError::Away`] it may have run.
    pub async fn run<R: FromReply>(
        &self,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Bytes>,
    ) -> Result<R, ScriptError> {
        script.run(&self.0.commands, keys, arguments).await
    }

    /// Whether writes to keys are notified at present; if not, the caller has to poll.
    pub fn is_tracking(&self) -> bool {
        self.0.tracking.load(Ordering::Acquire)
    }

    /// Whether the server answers.
    pub fn is_answering(&self) -> bool {
        self.0.state.is_answering()
    }

    /// The generation whose entries may be taken, as the text that scripts compare; `None` while
    /// the server is away, or before the losses of an earlier generation are told.
    pub(crate) fn current(&self) -> Option<Bytes> {
        self.0.state.current().map(|generation| Bytes::from(generation.to_string()))
    }

    /// The generation whose predecessor's losses are to be told now.
    pub(crate) fn untold(&self) -> Option<u64> {
        self.0.state.untold()
    }

    /// The losses before this generation are told: the next heartbeat says so to all instances.
    pub(crate) fn told(&self, generation: u64) {
        self.0.state.told(generation);
    }

    /// The server may hold different data: sends the next heartbeat immediately.
    pub(crate) fn check_generation(&self) {
        self.0.state.want_heartbeat();
    }

    /// The generation, as it changes.
    pub(crate) fn generations(&self) -> watch::Receiver<u64> {
        self.0.state.generations()
    }

    /// Why the server does not answer; `None` = it does.
    pub(crate) fn failure(&self) -> Option<String> {
        self.0.state.failure()
    }

    /// Where it is, without any password.
    pub(crate) fn place(&self) -> &str {
        &self.0.place
    }

    /// A hash: the generation of its data.
    pub(crate) fn generation_key(&self) -> String {
        self.key(GENERATION)
    }

    /// A sorted set: the instances that reach it.
    pub(crate) fn instances(&self) -> String {
        self.key(INSTANCES)
    }

    /// A hash: which instance handles which entries of each source.
    pub(crate) fn under_way(&self) -> String {
        self.key("underway")
    }

    fn key(&self, name: &str) -> String {
        format!("{}:remote:{name}", self.0.cluster)
    }
}

const GENERATION: &str = "gen";
const INSTANCES: &str = "instances";

impl fmt::Debug for RemoteRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteRedis").field("place", &self.0.place).finish_non_exhaustive()
    }
}
