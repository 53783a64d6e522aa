//! A further connection to the layer's Redis, for rooms that feed the layer.
//!
//! It runs scripts that number and publish as the layer does, and is notified when keys are
//! written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use tokio::sync::watch;

use super::connect::{self, AbortOnDrop, Commands};
use super::history_tables::add_history;
use super::kept_connection::keep_connected;
use super::key_changes::{self, KeyChanges};
use super::names::Names;
use super::redis_health::RedisHealth;
use super::reply::FromReply;
use super::script::{Script, ScriptError};
use crate::event::{InstanceId, PossibleLoss, Publication};
use crate::group::GroupName;
use crate::layer::envelope::EnvelopeCodec;
use crate::layer::history::{History, Retention};
use crate::layer::{LayerError, RedisSettings, history};
use crate::lua_table::{LuaTable, ScriptKeys};

/// A separate connection, with the state of the layer. Clones share it; it ends with the last one.
#[derive(Clone)]
pub struct RedisHandle(Arc<Shared>);

struct Shared {
    commands: Commands,
    layer: LayerState,
    /// Whether writes to keys are notified at present.
    tracking: Arc<AtomicBool>,
    /// Aborted with the handle.
    _tasks: Vec<AbortOnDrop<()>>,
}

/// The state that a handle shares with the layer.
pub(super) struct LayerState {
    pub(super) names: Arc<Names>,
    pub(super) codec: Arc<EnvelopeCodec>,
    pub(super) redis_health: Arc<RedisHealth>,
    pub(super) history: History,
}

impl RedisHandle {
    pub(super) fn open(
        settings: &RedisSettings,
        layer: LayerState,
        prefixes: Vec<String>,
    ) -> Result<(Self, KeyChanges), LayerError> {
        let (client, lookup) = connect::client(settings, key_changes::WAITING)?;
        let tracking = Arc::new(AtomicBool::new(false));
        let changes = KeyChanges::new(&client);
        let mut tasks = vec![keep_connected(settings, client.clone(), lookup, "sources")];
        let renew = renew(client.clone(), layer.redis_health.renewals());
        tasks.push(AbortOnDrop(tokio::spawn(renew)));
        // Without a prefix Redis would notify of every key.
        if !prefixes.is_empty() {
            let track = key_changes::track(client.clone(), prefixes, Arc::clone(&tracking));
            tasks.push(AbortOnDrop(tokio::spawn(track)));
        }
        let commands = connect::commands(&client, settings);
        let shared = Shared { commands, layer, tracking, _tasks: tasks };
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

    /// Whether the layer delivers.
    pub fn is_delivering(&self) -> bool {
        self.0.layer.redis_health.is_delivering()
    }

    /// The generation, as the text that scripts compare.
    pub fn generation(&self) -> Bytes {
        Bytes::from(self.0.layer.redis_health.generation().to_string())
    }

    /// A script found another generation: nothing counts as delivered until the next heartbeat,
    /// which is sent immediately.
    pub fn generation_changed(&self) {
        self.0.layer.redis_health.set_silent();
        self.0.layer.redis_health.want_heartbeat();
    }

    /// Redis may have lost its data: sends the next heartbeat, which checks that, immediately.
    pub fn check_generation(&self) {
        self.0.layer.redis_health.want_heartbeat();
    }

    /// The instances that deliver, this one perhaps among them.
    pub fn instances(&self) -> Vec<InstanceId> {
        self.0.layer.redis_health.instances()
    }

    /// Changes whenever the layer's subscription has become complete again.
    pub fn resubscriptions(&self) -> watch::Receiver<u64> {
        self.0.layer.redis_health.resubscriptions()
    }

    /// Changes whenever a term of this instance begins or ends; 0 = it has none. In a new term it
    /// listens to no group until it has entered it.
    pub fn terms(&self) -> watch::Receiver<u64> {
        self.0.layer.redis_health.terms()
    }

    /// The id of this instance.
    pub fn instance(&self) -> InstanceId {
        self.0.layer.codec.instance()
    }

    /// The names of the cluster's channels and keys.
    pub fn names(&self) -> &Names {
        &self.0.layer.names
    }

    /// Which groups keep a history.
    pub fn history(&self) -> &History {
        &self.0.layer.history
    }

    /// The channel of a publication that is accepted now, and its envelope there.
    pub fn envelope(&self, publication: &Publication) -> (String, Bytes) {
        let LayerState { names, codec, .. } = &self.0.layer;
        let channel = names.of(&publication.target);
        let envelope = codec.publication(&channel, publication, Instant::now());
        (channel, envelope.into())
    }

    /// The envelope that reports publications lost before they reached the layer.
    pub fn possible_loss(&self, loss: &PossibleLoss) -> Bytes {
        let LayerState { names, codec, .. } = &self.0.layer;
        codec.possible_loss(names.control(), loss).into()
    }

    /// Announces, on the channel of `group`, that the external `message`, published right after it,
    /// is the cluster's own, so that its instances already have the event. Returns the channel,
    /// too.
    pub fn announcement(&self, group: &GroupName, message: &[u8]) -> (String, Bytes) {
        let LayerState { names, codec, .. } = &self.0.layer;
        let channel = names.of_group(group);
        let announcement = codec.announcement(&channel, message);
        (channel, announcement.write().into())
    }

    /// The random part of new epochs.
    pub fn random_epoch(&self) -> Bytes {
        history::random_epoch().into()
    }

    /// Adds to `table` what `numbering.lua` documents of a group's history.
    pub(crate) fn add_history(
        &self,
        table: LuaTable,
        keys: &mut ScriptKeys,
        group: &GroupName,
        kept: Retention,
    ) -> LuaTable {
        add_history(table, keys, self.names(), group, kept)
    }
}

/// Renews the connection whenever the layer renews its own.
async fn renew(client: Client, mut renewals: watch::Receiver<u64>) {
    while renewals.changed().await.is_ok() {
        // An error means that it is already reconnecting.
        let _ = client.force_reconnection().await;
    }
}
