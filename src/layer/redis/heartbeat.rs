//! Once a second: is it the same Redis, who else is there, and does a message come back.

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
use super::script::Script;
use super::subscriber::Order;
use crate::event::InstanceId;
use crate::layer::{LayerError, envelope};

/// Between two beats.
const BEAT: Duration = Duration::from_secs(1);

/// Between two attempts while the last beat was not answered: delivery is to be known to be back soon
/// after it is.
const IMPATIENT: Duration = Duration::from_millis(100);

/// The script of a beat.
pub(super) const SCRIPT: &str = include_str!("heartbeat.lua");

/// What beats.
pub(super) struct InstanceHeartbeat {
    pub(super) instance: InstanceId,
    pub(super) source_expiry: Option<Duration>,
    pub(super) commands: Commands,
    pub(super) reconnects: broadcast::Receiver<Server>,
    pub(super) errors: broadcast::Receiver<(Error, Option<Server>)>,
    pub(super) names: Arc<Names>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) redis_health: Arc<RedisHealth>,
}

impl InstanceHeartbeat {
    /// Beats until the layer is gone.
    pub(super) async fn run(mut self) {
        let script = Script::new(&[SCRIPT]);
        let mut ticks = interval(IMPATIENT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut number, mut quiet) = (0, Duration::ZERO);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    quiet += IMPATIENT;
                    if quiet < BEAT && self.redis_health.is_delivering() {
                        continue;
                    }
                }
                _ = self.reconnects.recv() => {}
                _ = self.errors.recv() => {
                    self.redis_health.set_speaking(false);
                    continue;
                }
            }
            quiet = Duration::ZERO;
            number += 1;
            let answered = self.beat(&script, number).await;
            self.redis_health.set_speaking(answered.is_ok());
            if let Err(error) = answered {
                tracing::debug!(%error, "no answer to the beat");
                continue;
            }
            if self.redis_health.is_deaf() && self.orders.send(Order::Renew).await.is_err() {
                return;
            }
        }
    }

    async fn beat(&self, script: &Script, number: u64) -> Result<(), LayerError> {
        let keys = vec![self.names.generation(), self.names.instances()];
        let delivers: &[u8] = if self.redis_health.is_delivering() { b"1" } else { b"0" };
        let arguments = vec![
            Bytes::from(self.instance.to_string()),
            Bytes::from(self.redis_health.generation().to_string()),
            Bytes::from_static(delivers),
            Bytes::from(self.names.instance().to_owned()),
            Bytes::from(envelope::probe(self.instance, number)),
            Bytes::from(self.source_expiry.map_or(0, |span| span.as_secs()).to_string()),
        ];
        self.redis_health.probe_sent(number);
        let (generation, instances): (u64, Vec<String>) =
            script.run(&self.commands, keys, arguments).await?;
        let instances = instances.iter().filter_map(|id| id.parse().ok()).collect();
        self.redis_health.told(self.instance, generation, instances);
        Ok(())
    }
}
