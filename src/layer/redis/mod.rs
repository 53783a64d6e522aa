//! The layer over Redis: two connections, one that listens and one for everything else.
//!
//! A publication is one PUBLISH, or one of many in a script; a group that is held here is one channel
//! subscribed. Redis keeps nothing of what it passes on, so whatever happens while nobody listens is
//! lost: every loss of the subscription is told as a gap. Groups with history are numbered and kept
//! besides.

mod connect;
mod handle;
mod heartbeat;
mod history_store;
mod names;
mod notes;
mod receive;
mod redis_health;
mod reply;
mod script;
mod script_batch;
mod session;
mod subscriber;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use fred::interfaces::{EventInterface, PubsubInterface};
use tokio::sync::{mpsc, oneshot};

pub(super) use connect::check_url;
pub use handle::{ChangedKeys, KeyChanges, NUMBERING, RedisHandle};
pub use names::{Names, doubt_of};
pub use reply::{FromReply, Reply};
pub use script::{Script, ScriptError};
pub use session::Session;

use super::history::History;
use super::{Health, INCOMING, Inbox, LayerError, RedisSettings, envelope, unreachable};
use crate::byte_budget::ByteBudget;
use crate::event::{Control, InstanceId, Position, Publication, Recovery, Target};
use crate::group::GroupName;
use crate::telemetry::{LogLimit, Metrics};
use connect::{Commands, EVENTS, Ending};
use heartbeat::InstanceHeartbeat;
use history_store::HistoryStore;
use receive::{BACKLOG, Reader, SubscriptionReader};
use redis_health::RedisHealth;
use script_batch::ScriptBatch;
use subscriber::{Order, Subscriber};

/// Changes of the subscription that may wait; the relay sends few, each of many groups.
const ORDERS: usize = 64;

/// Events of the connection for commands that may wait to be looked at.
const FEW_EVENTS: usize = 32;

/// One instance's hold on a cluster over Redis. Clones share it; its tasks end with the last one.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    instance: InstanceId,
    names: Arc<Names>,
    commands: Commands,
    log: HistoryStore,
    orders: mpsc::Sender<Order>,
    redis_health: Arc<RedisHealth>,
    settings: RedisSettings,
    /// Ended with the layer.
    _tasks: Vec<Ending<()>>,
}

impl Redis {
    /// Starts connecting, for as long as it takes; until it has, everything is refused.
    ///
    /// # Errors
    /// [`LayerError::Url`]. Must be called within a runtime.
    pub(super) fn start(
        settings: &RedisSettings,
        history: History,
        instance: InstanceId,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Inbox), LayerError> {
        let names = Arc::new(Names::new(
            &settings.cluster,
            instance,
            settings.foreign.clone(),
            settings.boxes,
        ));
        let redis_health = Arc::new(RedisHealth::new(metrics));
        let speaking = connect::client(settings, FEW_EVENTS)?;
        let listening = connect::client(settings, EVENTS)?;
        let commands = connect::commands(&speaking, settings);
        let (orders, ordered) = mpsc::channel(ORDERS);
        let (backlog, backlogged) = mpsc::channel(BACKLOG);
        let (sender, inbox) = mpsc::channel(INCOMING);
        let budget = Arc::new(ByteBudget::new(settings.backlog_bytes));

        let taker = SubscriptionReader {
            messages: listening.message_rx(),
            names: Arc::clone(&names),
            backlog: backlog.clone(),
            budget: Arc::clone(&budget),
            redis_health: Arc::clone(&redis_health),
        };
        let reader = Reader {
            backlog: backlogged,
            inbox: sender,
            budget,
            max_event_bytes: settings.max_event_bytes,
            instance,
            redis_health: Arc::clone(&redis_health),
            unreadable_log: LogLimit::default(),
        };
        let pulse = InstanceHeartbeat {
            instance,
            source_expiry: settings.source_expiry,
            commands: commands.clone(),
            reconnects: speaking.reconnect_rx(),
            errors: speaking.error_rx(),
            names: Arc::clone(&names),
            orders: orders.clone(),
            redis_health: Arc::clone(&redis_health),
        };
        let subscriber = Subscriber::new(
            listening.clone(),
            connect::commands(&listening, settings),
            Arc::clone(&names),
            ordered,
            backlog,
            Arc::clone(&redis_health),
        );
        let tasks = vec![
            Ending(tokio::spawn(taker.run())),
            Ending(tokio::spawn(reader.run())),
            Ending(tokio::spawn(subscriber.run())),
            Ending(tokio::spawn(pulse.run())),
            Ending(tokio::spawn(connect::keep_connected(speaking, "commands"))),
            Ending(tokio::spawn(connect::keep_connected(listening, "subscription"))),
        ];
        let log = HistoryStore::new(
            history,
            Arc::clone(&names),
            commands.clone(),
            Arc::clone(&redis_health),
        );
        let shared = Shared {
            instance,
            names,
            commands,
            log,
            orders,
            redis_health,
            settings: settings.clone(),
            _tasks: tasks,
        };
        Ok((Self(Arc::new(shared)), inbox))
    }

    pub(super) async fn publish(
        &self,
        publication: Publication,
    ) -> Result<Option<Position>, LayerError> {
        let shared = &*self.0;
        let bytes = envelope::publication(shared.instance, &publication, Instant::now());
        if let Target::Group(group) = &publication.target
            && let Some(kept) = shared.log.of(group)
        {
            self.check_speaking()?;
            return shared.log.commit(group, kept, bytes).await.map(Some);
        }
        self.send(shared.names.of(&publication.target), bytes).await?;
        Ok(None)
    }

    /// Many by few scripts. A chunk is answered before the next one is sent, so that after an error
    /// nothing more is.
    pub(super) async fn publish_many(
        &self,
        mut publications: Vec<Publication>,
        mut taken: impl FnMut(Option<Position>),
    ) -> Result<(), LayerError> {
        if publications.len() == 1
            && let Some(publication) = publications.pop()
        {
            taken(self.publish(publication).await?);
            return Ok(());
        }
        let shared = &*self.0;
        let mut rest = publications.as_slice();
        while !rest.is_empty() {
            self.check_speaking()?;
            let mut chunk = ScriptBatch::new(&shared.names, shared.log.history(), shared.instance);
            rest = chunk.fill(rest, Instant::now());
            shared.log.commit_many(chunk, &mut taken).await?;
        }
        Ok(())
    }

    pub(super) async fn control(&self, control: Control) -> Result<(), LayerError> {
        let bytes = envelope::control(self.0.instance, &control);
        self.send(self.0.names.control().to_owned(), bytes).await
    }

    async fn send(&self, channel: String, bytes: Vec<u8>) -> Result<(), LayerError> {
        self.check_speaking()?;
        // How many listen says nothing: an instance subscribes whether or not anybody is there.
        let listeners = self.0.commands.publish::<i64, _, _>(channel, Bytes::from(bytes)).await;
        listeners.map(drop).map_err(unreachable)
    }

    fn check_speaking(&self) -> Result<(), LayerError> {
        match self.0.redis_health.is_speaking() {
            true => Ok(()),
            false => Err(LayerError::Unreachable("there is no connection to Redis".to_owned())),
        }
    }

    pub(super) async fn subscribe(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Subscribe(groups.to_vec(), answer)).await?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    pub(super) async fn unsubscribe(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Unsubscribe(groups.to_vec(), answer)).await?;
        answered.await.map_err(|_| ended())
    }

    async fn order(&self, order: Order) -> Result<(), LayerError> {
        self.0.orders.send(order).await.map_err(|_| ended())
    }

    pub(super) async fn recover(
        &self,
        asked: &[(GroupName, Option<Position>)],
    ) -> Result<Vec<Recovery>, LayerError> {
        self.check_speaking()?;
        let answers = self.0.log.recover(asked).await?;
        if !self.0.redis_health.is_live() {
            // A join that is answered promises what follows; nothing can be promised now.
            return Err(LayerError::Unreachable("nothing is subscribed".to_owned()));
        }
        Ok(answers)
    }

    /// A further connection to the same Redis, for what feeds the layer; must be called within a
    /// runtime. `wake` are the beginnings of keys whose writing is to be told.
    pub fn link(&self, wake: Vec<String>) -> Result<(RedisHandle, KeyChanges), LayerError> {
        RedisHandle::open(&self.0, wake)
    }

    /// The names of the cluster's channels and keys.
    pub fn names(&self) -> &Names {
        &self.0.names
    }

    pub(super) fn health(&self) -> Health {
        self.0.redis_health.health()
    }
}

fn ended() -> LayerError {
    LayerError::Unreachable("the layer has ended".to_owned())
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("names", &self.0.names).finish_non_exhaustive()
    }
}
