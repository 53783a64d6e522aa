//! Once a second: is this still the same Redis, which instances are there, does a message return?

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::error::Error;
use fred::types::config::Server;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use super::connect::Commands;
use super::names::Names;
use super::redis_health::RedisHealth;
use super::script::{Script, ScriptError};
use super::subscriber::SubscriptionChange;
use crate::event::InstanceId;
use crate::layer::envelope;

/// Between two heartbeats.
const INTERVAL: Duration = Duration::from_secs(1);

/// Between two attempts after a heartbeat that was not answered, so that a recovery shows soon.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The script of a heartbeat.
pub(super) const SCRIPT: &str = include_str!("heartbeat.lua");

/// Sends the heartbeats of one instance.
pub(super) struct InstanceHeartbeat {
    pub(super) instance: InstanceId,
    pub(super) max_absence: Option<Duration>,
    pub(super) commands: Commands,
    pub(super) reconnects: broadcast::Receiver<Server>,
    pub(super) errors: broadcast::Receiver<(Error, Option<Server>)>,
    pub(super) names: Arc<Names>,
    pub(super) subscriber: mpsc::Sender<SubscriptionChange>,
    pub(super) redis_health: Arc<RedisHealth>,
}

impl InstanceHeartbeat {
    /// Sends heartbeats until the subscriber is gone.
    pub(super) async fn run(mut self) {
        let script = Script::new(&[SCRIPT]);
        let mut ticks = interval(RETRY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut number, mut since_last) = (0, Duration::ZERO);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    since_last += RETRY_INTERVAL;
                    if since_last < INTERVAL && self.redis_health.is_delivering() {
                        continue;
                    }
                }
                _ = self.reconnects.recv() => {}
                _ = self.errors.recv() => {
                    self.redis_health.set_answering(false);
                    continue;
                }
            }
            since_last = Duration::ZERO;
            number += 1;
            let answered = self.send(&script, number).await;
            self.redis_health.set_answering(answered.is_ok());
            if let Err(error) = answered {
                tracing::debug!(%error, "heartbeat not answered");
                continue;
            }
            if self.redis_health.is_unresponsive()
                && self.subscriber.send(SubscriptionChange::Renew).await.is_err()
            {
                return;
            }
        }
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
        ];
        self.redis_health.probe_sent(number);
        let (generation, instances): (u64, Vec<String>) =
            script.run(&self.commands, keys, arguments).await?;
        let instances = instances.iter().filter_map(|id| id.parse().ok()).collect();
        self.redis_health.heartbeat_answered(self.instance, generation, instances);
        Ok(())
    }
}
