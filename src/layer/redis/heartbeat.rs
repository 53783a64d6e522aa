//! The heartbeat each second: checks the identity of Redis, the live instances and delivery.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::config::Server;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use super::connect::Commands;
use super::history_store::HistoryStore;
use super::names::Names;
use super::redis_health::RedisHealth;
use super::script::{Script, ScriptError, layer_error};
use super::subscriber::SubscriptionChange;
use crate::event::{InstanceId, PossibleLoss};
use crate::layer::{LayerError, envelope};

/// Between two heartbeats.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time between two attempts after a heartbeat was not answered, to detect a recovery soon.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Time before the second renewal of all connections to a server that has become a replica; doubled
/// each time. A name or a proxy leads to the new primary at the first try, or after a while.
const MIN_RENEWAL_DELAY: Duration = Duration::from_secs(1);

/// Longest wait between two such renewals.
const MAX_RENEWAL_DELAY: Duration = Duration::from_secs(30);

/// The script of a heartbeat.
pub(super) const SCRIPT: &str = include_str!("heartbeat.lua");

/// Sends the heartbeats of one instance.
pub(super) struct InstanceHeartbeat {
    pub(super) instance: InstanceId,
    pub(super) max_absence: Option<Duration>,
    pub(super) commands: Commands,
    /// The connection of `commands`.
    pub(super) client: Client,
    pub(super) reconnects: broadcast::Receiver<Server>,
    pub(super) errors: broadcast::Receiver<(Error, Option<Server>)>,
    pub(super) histories: Arc<HistoryStore>,
    pub(super) names: Arc<Names>,
    pub(super) subscriber: mpsc::Sender<SubscriptionChange>,
    pub(super) redis_health: Arc<RedisHealth>,
}

/// The earliest time of the next renewal of all connections.
struct RenewalBackoff {
    due: Instant,
    delay: Duration,
}

impl RenewalBackoff {
    fn new() -> Self {
        Self { due: Instant::now(), delay: MIN_RENEWAL_DELAY }
    }

    /// Whether a renewal is due. If so, the next one is postponed.
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        if now < self.due {
            return false;
        }
        self.due = now + self.delay;
        self.delay = (self.delay * 2).min(MAX_RENEWAL_DELAY);
        true
    }
}

impl InstanceHeartbeat {
    /// Sends heartbeats until the subscriber has ended.
    pub(super) async fn run(mut self) {
        let script = Script::new(&[SCRIPT]);
        let mut ticks = interval(RETRY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut number, mut since_last) = (0, Duration::ZERO);
        let mut renewal = RenewalBackoff::new();
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
                    self.redis_health.set_answering(false);
                    if let Ok((error, _)) = error {
                        self.note(&layer_error(&error));
                    }
                    continue;
                }
            }
            since_last = Duration::ZERO;
            number += 1;
            let answered = self.send_first(&script, number).await;
            self.redis_health.set_answering(answered.is_ok());
            if let Err(error) = answered.map_err(LayerError::from) {
                tracing::debug!(%error, "heartbeat not answered");
                self.note(&error);
                if is_replica(&error) && renewal.is_due() {
                    self.renew_connections().await;
                }
                continue;
            }
            self.redis_health.accepted();
            renewal = RenewalBackoff::new();
            if self.redis_health.is_unresponsive()
                && self.subscriber.send(SubscriptionChange::Renew).await.is_err()
            {
                return;
            }
        }
    }

    /// Sends a heartbeat, and before the first on a connection the scripts: commands are refused
    /// until it is answered.
    async fn send_first(&self, script: &Script, number: u64) -> Result<(), ScriptError> {
        if self.redis_health.is_answering() {
            return self.send(script, number).await;
        }
        let ((), answered) = tokio::join!(self.histories.load_scripts(), self.send(script, number));
        answered
    }

    fn note(&self, error: &LayerError) {
        if let LayerError::Refused(words) = error {
            self.redis_health.refused(words);
        }
    }

    async fn renew_connections(&self) {
        tracing::warn!("redis has become a replica; renewing all connections");
        self.redis_health.renew_connections();
        // An error means that it is already reconnecting.
        let _ = self.client.force_reconnection().await;
    }

    async fn send(&self, script: &Script, number: u64) -> Result<(), ScriptError> {
        let keys = vec![self.names.generation(), self.names.instances()];
        let delivers: &[u8] = if self.redis_health.is_delivering() { b"1" } else { b"0" };
        let arguments = vec![
            Bytes::from(self.instance.to_string()),
            Bytes::from(self.redis_health.generation().to_string()),
            Bytes::from_static(delivers),
            Bytes::from(self.names.instance().to_owned()),
            Bytes::from(envelope::probe(self.instance, number)),
            Bytes::from(self.max_absence.map_or(0, |span| span.as_secs()).to_string()),
            Bytes::from(self.names.control().to_owned()),
            Bytes::from(envelope::possible_loss(self.instance, &PossibleLoss::ALL)),
        ];
        self.redis_health.probe_sent(number);
        let (generation, instances, newest): (u64, Vec<String>, String) =
            script.run(&self.commands, keys, arguments).await?;
        let instances = instances.iter().filter_map(|id| id.parse().ok()).collect();
        self.redis_health.command_accepted(envelope::parse_place(&newest).unwrap_or_default());
        self.redis_health.heartbeat_answered(self.instance, generation, instances);
        Ok(())
    }
}

/// Whether the server refuses writes because it is a replica.
fn is_replica(error: &LayerError) -> bool {
    matches!(error, LayerError::Refused(words) if words.starts_with("READONLY"))
}
