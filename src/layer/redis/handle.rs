//! A further connection to the layer's Redis, for what feeds the layer from elsewhere.
//!
//! It is told when keys are written (CLIENT TRACKING, broadcast by their beginnings), which takes
//! nothing away; and it can run scripts that number and send as the layer does.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{EventInterface, TrackingInterface};
use fred::types::client::Invalidation;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};

use super::Shared;
use super::connect::{self, Commands, Ending};
use super::names::Names;
use super::redis_health::RedisHealth;
use super::reply::FromReply;
use super::script::{Script, ScriptError};
use crate::event::{InstanceId, Publication};
use crate::layer::history::{History, Retention};
use crate::layer::{LayerError, PossibleLoss, envelope, history};

/// Events of writing that may wait to be looked at; more is as if all keys had been written.
const WAKES: usize = 4096;

/// Between two attempts to be told of writing.
const AGAIN: Duration = Duration::from_secs(1);

/// What stands before scripts that number publications as the layer does.
pub const NUMBERING: &str = include_str!("numbering.lua");

/// A connection of its own, and what the layer knows. Clones share it; it ends with the last one.
#[derive(Clone)]
pub struct RedisHandle(Arc<Linked>);

struct Linked {
    commands: Commands,
    names: Arc<Names>,
    instance: InstanceId,
    redis_health: Arc<RedisHealth>,
    history: History,
    /// Whether writing is told at present.
    told: Arc<AtomicBool>,
    /// Ended with the link.
    _tasks: Vec<Ending<()>>,
}

/// Hears what is written.
pub struct KeyChanges {
    wakes: broadcast::Receiver<Invalidation>,
    /// What a wait took.
    missed: ChangedKeys,
}

/// What was written since one last looked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ChangedKeys {
    /// These keys.
    pub keys: HashSet<String>,
    /// Anything may have been.
    pub all: bool,
}

impl ChangedKeys {
    fn add(&mut self, written: &Invalidation) {
        // FLUSHALL names no key.
        self.all |= written.keys.is_empty();
        self.keys.extend(written.keys.iter().filter_map(|key| key.as_str().map(str::to_owned)));
    }
}

impl RedisHandle {
    pub(super) fn open(
        layer: &Shared,
        wake: Vec<String>,
    ) -> Result<(Self, KeyChanges), LayerError> {
        let client = connect::client(&layer.settings, WAKES)?;
        let told = Arc::new(AtomicBool::new(false));
        let ear = KeyChanges { wakes: client.invalidation_rx(), missed: ChangedKeys::default() };
        let mut tasks =
            vec![Ending(tokio::spawn(connect::keep_connected(client.clone(), "sources")))];
        // Without any beginning Redis would tell of every key.
        if !wake.is_empty() {
            tasks.push(Ending(tokio::spawn(track(client.clone(), wake, Arc::clone(&told)))));
        }
        let linked = Linked {
            commands: connect::commands(&client, &layer.settings),
            names: Arc::clone(&layer.names),
            instance: layer.instance,
            redis_health: Arc::clone(&layer.redis_health),
            history: layer.log.history().clone(),
            _tasks: tasks,
            told,
        };
        Ok((Self(Arc::new(linked)), ear))
    }

    /// Runs a script.
    ///
    /// # Errors
    /// After [`ScriptError::Away`] it may have run or not.
    pub async fn run<R: FromReply>(
        &self,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Bytes>,
    ) -> Result<R, ScriptError> {
        script.run(&self.0.commands, keys, arguments).await
    }

    /// Whether writing is told at present; if not, one has to look.
    pub fn is_told(&self) -> bool {
        self.0.told.load(Ordering::Acquire)
    }

    /// Whether the layer carries what it is given.
    pub fn is_delivering(&self) -> bool {
        self.0.redis_health.is_delivering()
    }

    /// The generation that scripts are to be told, as text.
    pub fn generation(&self) -> Bytes {
        Bytes::from(self.0.redis_health.generation().to_string())
    }

    /// The generation was not the present one: nothing is taken for well until the next beat.
    pub fn outdated(&self) {
        self.0.redis_health.set_speaking(false);
    }

    /// The instances that deliver, this one perhaps among them.
    pub fn instances(&self) -> Vec<InstanceId> {
        self.0.redis_health.instances()
    }

    /// Changes whenever the layer's subscription has been made anew.
    pub fn renewals(&self) -> watch::Receiver<u64> {
        self.0.redis_health.renewals()
    }

    /// Which instance this is.
    pub fn instance(&self) -> InstanceId {
        self.0.instance
    }

    /// The names of the cluster's channels and keys.
    pub fn names(&self) -> &Names {
        &self.0.names
    }

    /// The history of groups.
    pub fn history(&self) -> &History {
        &self.0.history
    }

    /// The envelope of a publication accepted now.
    pub fn envelope(&self, publication: &Publication) -> Bytes {
        envelope::publication(self.0.instance, publication, Instant::now()).into()
    }

    /// The envelope that tells whose publications may never have come.
    pub fn unheard(&self, unheard: &PossibleLoss) -> Bytes {
        envelope::unheard(self.0.instance, unheard).into()
    }

    /// The word that `message`, published right behind it, is the cluster's own: whoever of the
    /// cluster hears it on a foreign channel has had it by its own.
    pub fn announcement(message: &[u8]) -> Bytes {
        envelope::Announcement::of(message).write().into()
    }

    /// The random part of epochs that begin now.
    pub fn random_epoch(&self) -> Bytes {
        history::random_epoch().into()
    }

    /// Publications, ms and ms of the numbering that a group keeps.
    pub fn spans(kept: Retention) -> (u32, Duration, Duration) {
        (kept.size, kept.ttl, kept.ttl + history::NUMBERING)
    }
}

impl KeyChanges {
    /// Waits for something to be written.
    pub async fn written(&mut self) {
        match self.wakes.recv().await {
            Ok(written) => self.missed.add(&written),
            Err(RecvError::Lagged(_)) => self.missed.all = true,
            // The client lives as long as the link.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }

    /// Takes all that has been written.
    pub fn wakes(&mut self) -> ChangedKeys {
        let mut wakes = std::mem::take(&mut self.missed);
        loop {
            match self.wakes.try_recv() {
                Ok(written) => wakes.add(&written),
                Err(TryRecvError::Lagged(_)) => wakes.all = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return wakes,
            }
        }
    }
}

/// Asks to be told of writing, on every new connection.
async fn track(client: Client, prefixes: Vec<String>, told: Arc<AtomicBool>) {
    let mut reconnects = client.reconnect_rx();
    let mut errors = client.error_rx();
    loop {
        if !told.load(Ordering::Acquire) {
            // Whatever happened up to here is covered by what follows.
            while !matches!(reconnects.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed))
            {
            }
            match start_tracking(&client, prefixes.clone()).await {
                Ok(()) => told.store(true, Ordering::Release),
                Err(error) => tracing::debug!(%error, "writing is not told; sources are polled"),
            }
        }
        tokio::select! {
            _ = reconnects.recv() => told.store(false, Ordering::Release),
            _ = errors.recv() => told.store(false, Ordering::Release),
            () = tokio::time::sleep(AGAIN), if !told.load(Ordering::Acquire) => {}
        }
    }
}

/// Off before on: a connection that is told already refuses to be told the same again.
async fn start_tracking(client: &Client, prefixes: Vec<String>) -> Result<(), Error> {
    client.stop_tracking().await?;
    // NOLOOP: what the link's own scripts remove need not wake it.
    client.start_tracking(prefixes, true, false, false, true).await
}
