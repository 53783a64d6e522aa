//! The heartbeat each second: checks the identity of Redis, the live instances and delivery.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::config::Server;
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use super::address_lookup::AddressLookup;
use super::connect::Commands;
use super::direct_publisher::DirectPublisher;
use super::history_store::HistoryStore;
use super::names::Names;
use super::redis_health::RedisHealth;
use super::script::{LISTENING, Script, ScriptError, layer_error};
use super::server_identity::has_another_primary;
use super::subscriber::SubscriptionChange;
use crate::event::PossibleLoss;
use crate::layer::{LayerError, RedisSettings, envelope};

/// Between two heartbeats.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time between two attempts after a heartbeat was not answered, to detect a recovery soon.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Between two looks whether the address leads to another primary by now.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The script of a heartbeat.
pub(super) const SCRIPT: &str = include_str!("heartbeat.lua");

/// The answer of the script: generation, instances that deliver, the place of the newest command,
/// the addresses of all, Redis' error for writes that take memory, the term, and how many instances
/// do not read signatures.
type HeartbeatAnswer = (u64, Vec<String>, (String, Vec<String>, String, (u64, u64)));

/// Sends the heartbeats of one instance.
pub(super) struct InstanceHeartbeat {
    pub(super) max_absence: Option<Duration>,
    pub(super) commands: Commands,
    /// The connection of `commands`.
    pub(super) client: Client,
    pub(super) lookup: AddressLookup,
    pub(super) reconnects: broadcast::Receiver<Server>,
    pub(super) errors: broadcast::Receiver<(Error, Option<Server>)>,
    pub(super) histories: Arc<HistoryStore>,
    pub(super) direct: Arc<DirectPublisher>,
    pub(super) names: Arc<Names>,
    pub(super) subscriber: mpsc::Sender<SubscriptionChange>,
    pub(super) redis_health: Arc<RedisHealth>,
    pub(super) settings: RedisSettings,
}

impl InstanceHeartbeat {
    /// Sends heartbeats until the subscriber has ended.
    pub(super) async fn run(mut self) {
        let script = Script::new(&[LISTENING, SCRIPT]);
        let mut ticks = interval(RETRY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut number, mut since_last) = (0, Duration::ZERO);
        // The connection on which Redis knows the scripts.
        let (mut looked, mut loaded) = (None, None);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    since_last += RETRY_INTERVAL;
                    if since_last < INTERVAL && self.redis_health.is_delivering() {
                        continue;
                    }
                }
                () = self.redis_health.heartbeat_wanted() => {}
                _ = self.reconnects.recv() => {}
                error = self.errors.recv() => {
                    self.redis_health.set_silent();
                    loaded = None;
                    if let Ok((error, _)) = error {
                        self.note(&layer_error(&error));
                    }
                    continue;
                }
            }
            since_last = Duration::ZERO;
            number += 1;
            self.note_earlier_errors();
            let connection = self.redis_health.connection();
            let answered = self.send_first(&script, number, loaded).await;
            if answered.is_ok() {
                self.redis_health.set_answering(connection);
                // It may have been made meanwhile; then a script may be unknown, and is sent.
                loaded = self.redis_health.connection();
            } else {
                self.redis_health.set_silent();
                loaded = None;
            }
            if let Err(error) = answered.map_err(LayerError::from) {
                tracing::debug!(%error, "heartbeat not answered");
                self.note(&error);
                if self.is_elsewhere(&error, &mut looked).await {
                    self.renew_connections().await;
                }
                continue;
            }
            looked = None;
            if self.redis_health.is_unresponsive()
                && self.subscriber.send(SubscriptionChange::Renew).await.is_err()
            {
                return;
            }
        }
    }

    /// Sends a heartbeat, and before the first on a connection the scripts: commands are refused
    /// until it is answered.
    async fn send_first(
        &self,
        script: &Script,
        number: u64,
        loaded: Option<u64>,
    ) -> Result<(), ScriptError> {
        if loaded.is_some() && loaded == self.redis_health.connection() {
            return self.send(script, number).await;
        }
        let ((), (), answered) = tokio::join!(
            self.histories.load_scripts(),
            self.direct.load_script(),
            self.send(script, number)
        );
        answered
    }

    /// Takes the errors that are older than the heartbeat about to be sent: its answer is newer.
    fn note_earlier_errors(&mut self) {
        while let Ok((error, _)) = self.errors.try_recv() {
            self.note(&layer_error(&error));
        }
    }

    fn note(&self, error: &LayerError) {
        if let LayerError::Refused(words) = error {
            self.redis_health.refused(words);
        }
    }

    /// Whether the address leads to another primary, while this server takes no writes: it has
    /// become a replica, or lacks replicas and may be cut off from a new primary. Looked at each
    /// second, since a name or a proxy may follow a failover late. Until then subscriptions stay.
    async fn is_elsewhere(&self, error: &LayerError, looked: &mut Option<Instant>) -> bool {
        let LayerError::Refused(words) = error else { return false };
        let may_be = ["READONLY", "NOREPLICAS"].iter().any(|code| words.starts_with(code));
        if !may_be || looked.is_some_and(|at| at.elapsed() < LOOK_INTERVAL) {
            return false;
        }
        *looked = Some(Instant::now());
        has_another_primary(&self.commands, &self.settings).await
    }

    async fn renew_connections(&self) {
        tracing::warn!("this redis is not the primary any more; renewing all connections");
        self.redis_health.renew_connections();
        // An error means that it is already reconnecting.
        let _ = self.client.force_reconnection().await;
    }

    async fn send(&self, script: &Script, number: u64) -> Result<(), ScriptError> {
        let names = &self.names;
        let codec = &self.histories.codec;
        let (instance, control) = (codec.instance(), names.control());
        let keys = vec![
            names.generation(),
            names.instances(),
            names.addresses(),
            names.terms(),
            names.signature_readers(),
        ];
        let flag = |on| Bytes::from_static(if on { b"1" } else { b"0" });
        let arguments = vec![
            Bytes::from(instance.to_string()),
            Bytes::from(self.redis_health.generation().to_string()),
            flag(self.redis_health.is_delivering()),
            Bytes::from(names.instance().to_owned()),
            Bytes::from(codec.probe(names.instance(), number)),
            Bytes::from(self.max_absence.map_or(0, |span| span.as_secs()).to_string()),
            Bytes::from(control.to_owned()),
            Bytes::from(codec.possible_loss(control, &PossibleLoss::ALL)),
            Bytes::from(self.address().await.map_or(String::new(), |address| address.to_string())),
            flag(self.settings.enters_groups),
        ];
        self.redis_health.probe_sent(number);
        let (generation, instances, (newest, addresses, refusal, own)): HeartbeatAnswer =
            script.run(&self.commands, keys, arguments).await?;
        let instances = instances.iter().filter_map(|id| id.parse().ok()).collect();
        self.redis_health.command_accepted(envelope::parse_place(&newest).unwrap_or_default());
        self.redis_health.set_addresses(instance, &addresses);
        let (term, unaware) = own;
        self.redis_health.set_term(term);
        codec.set_understood(unaware == 0);
        match refusal.as_str() {
            "" => self.redis_health.accepted(),
            words => self.redis_health.refused(words),
        }
        self.redis_health.heartbeat_answered(instance, generation, instances);
        Ok(())
    }

    /// Where other instances reach the API of this one, if that is known.
    async fn address(&self) -> Option<SocketAddr> {
        let advertised = self.redis_health.advertised()?;
        if !advertised.ip().is_unspecified() {
            return Some(advertised);
        }
        let local = local_ip(self.lookup.target()?).await.ok()?;
        Some(SocketAddr::new(local, advertised.port()))
    }
}

/// The address from which this machine reaches Redis. Connecting a UDP socket sends nothing.
async fn local_ip(redis: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match redis {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connecting to port 0 is refused where a socket of this machine stands for a port.
    socket.connect(SocketAddr::new(redis.ip(), redis.port().max(1))).await?;
    Ok(socket.local_addr()?.ip())
}
