//! Carries publications between instances, in memory or over Redis. Knows no sockets or frames.

mod address;
mod cluster_keys;
mod envelope;
mod error;
mod fair_backlog;
mod group_queues;
mod health;
mod history;
mod incoming;
mod lag_report;
mod memory;
mod once;
mod questions;
mod redis;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

pub use address::RedisAddress;
pub use cluster_keys::ClusterSecrets;
pub use error::LayerError;
pub use health::Health;
pub use history::{History, Retention};
pub use incoming::{Inbox, Incoming, Loss};
pub use memory::{Broker, Memory};
pub use once::{Digest, KeyedPublication, OnceKey, OnceOutcome, WhenFull};
pub use questions::{MAX_ANSWER, PeerAnswers, PeerQuestion};
pub use redis::{
    ChangedKeys, FromReply, KeyChanges, KeyWatch, LISTENING, ListWriter, MAX_VALUE, NUMBERING,
    Names, PARKING, ParkedGroup, ReadValue, Redis, RedisHandle, RedisSession, RemoteRedis, Reply,
    Script, ScriptError, SetAside, StoredEntries, Surroundings, WATCH_CHUNK, WatchEvent,
    WatchedKeys, overflow_field,
};
pub(crate) use settings::DEFAULT_CLUSTER;
pub use settings::{External, Kind, Parking, RedisSettings, Settings};

pub use crate::event::{Control, Member, PossibleLoss, Recovery};

use crate::event::{InstanceId, Position, Publication, Stamp};
use crate::group::{GroupName, MemberCounts};
use crate::telemetry::Metrics;

/// The layer of one instance. An enum, not a trait, since there are only two.
#[derive(Debug, Clone)]
pub enum Layer {
    /// Within one process: nothing else is needed for a single instance.
    Memory(Memory),
    /// Over Redis: instances that share one act as one.
    Redis(Redis),
}

impl Layer {
    /// Starts the layer of one instance, within a runtime.
    pub fn start(
        settings: &Settings,
        instance: InstanceId,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Inbox), LayerError> {
        match &settings.kind {
            Kind::Memory => {
                let broker = Broker::with_history(settings.history.clone());
                let (memory, inbox) = Arc::new(broker).attach();
                Ok((Self::Memory(memory), inbox))
            }
            Kind::Redis(redis) => {
                let (redis, inbox) =
                    Redis::start(redis, settings.history.clone(), instance, metrics)?;
                Ok((Self::Redis(redis), inbox))
            }
        }
    }

    /// Sends a publication to every instance that wants it; the answer is its position.
    ///
    /// In memory it waits while its group has much in an instance's [`Inbox`], and dropping the
    /// future before it answers sends nothing. Over Redis, after an error or a dropped future, it
    /// may have been sent: only the answer may have been lost.
    pub async fn publish(&self, publication: Publication) -> Result<Option<Position>, LayerError> {
        match self {
            Self::Memory(memory) => memory.publish(publication).await,
            Self::Redis(redis) => redis.publish(publication).await,
        }
    }

    /// Sends publications in the order given; `published` is called for each that was sent, in that
    /// order, with its position.
    ///
    /// After an error nothing more is sent. As with [`Layer::publish`], a future dropped in memory
    /// has not sent the next one; over Redis, where up to 256 go together, a lost answer or a
    /// future dropped leaves open whether those were sent.
    pub async fn publish_many(
        &self,
        publications: Vec<Publication>,
        mut published: impl FnMut(Option<Position>),
    ) -> Result<(), LayerError> {
        match self {
            Self::Memory(memory) => {
                for publication in publications {
                    published(memory.publish(publication).await?);
                }
                Ok(())
            }
            Self::Redis(redis) => redis.publish_many(publications, published).await,
        }
    }

    /// Sends publications in the order given, each once under its key for `window`; `done` is
    /// called for each, in that order, with its outcome.
    ///
    /// Once within one generation of Redis' data: when data that is lost or older comes into
    /// effect, marks may be missing, and those of the older generation count no more. After an
    /// error nothing more is sent, as with [`Layer::publish_many`]; but repeating what may have
    /// been sent is harmless.
    pub async fn publish_once(
        &self,
        publications: Vec<KeyedPublication>,
        window: Duration,
        mut done: impl FnMut(OnceOutcome),
    ) -> Result<(), LayerError> {
        match self {
            Self::Memory(memory) => {
                for publication in &publications {
                    done(memory.publish_once(publication, window).await?);
                }
                Ok(())
            }
            Self::Redis(redis) => redis.publish_once(publications, window, done).await,
        }
    }

    /// Sends a back end's command to every instance. After the answer it takes effect on each, in
    /// order with publications, also on one that cannot be reached at present.
    ///
    /// Over Redis, after an error or a dropped future, it may have been accepted nevertheless.
    pub async fn control(&self, control: Control) -> Result<(), LayerError> {
        match self {
            Self::Memory(memory) => memory.control(control).await,
            Self::Redis(redis) => redis.control(control).await,
        }
    }

    /// Follows every command accepted so far. Those do not concern a connection whose identity is
    /// checked from now on.
    ///
    /// Over Redis it waits for the next heartbeat if this instance may be behind, briefly. Without
    /// an answer it is older, so that a command may concern the connection nevertheless.
    pub async fn stamp(&self) -> Stamp {
        match self {
            Self::Memory(_) => Stamp::default(),
            Self::Redis(redis) => redis.stamp().await,
        }
    }

    /// Subscribes to `groups`: every publication accepted after the answer arrives.
    ///
    /// After an error they stay wanted until [`Layer::unsubscribe`]: they arrive once the layer can
    /// be reached again.
    pub async fn subscribe(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        match self {
            Self::Memory(memory) => {
                memory.subscribe(groups);
                Ok(())
            }
            Self::Redis(redis) => redis.subscribe(groups).await,
        }
    }

    /// Ends the subscription of `groups`.
    pub async fn unsubscribe(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        match self {
            Self::Memory(memory) => {
                memory.unsubscribe(groups);
                Ok(())
            }
            Self::Redis(redis) => redis.unsubscribe(groups).await,
        }
    }

    /// The position of each group, and what was missed since the one given; in the order asked. One
    /// group's failure is that group's alone.
    pub async fn recover(
        &self,
        asked: &[(GroupName, Option<Position>)],
    ) -> Result<Vec<Result<Recovery, LayerError>>, LayerError> {
        match self {
            Self::Memory(memory) => Ok(memory.recover(asked).into_iter().map(Ok).collect()),
            Self::Redis(redis) => redis.recover(asked).await,
        }
    }

    /// What `group` keeps of its history, if anything.
    pub fn retention(&self, group: &GroupName) -> Option<Retention> {
        match self {
            Self::Memory(memory) => memory.history().of(group),
            Self::Redis(redis) => redis.history().of(group),
        }
    }

    /// Where the hub counts members: groups take turns by them.
    pub(crate) fn member_counts(&self) -> Arc<MemberCounts> {
        match self {
            Self::Memory(memory) => memory.member_counts(),
            Self::Redis(redis) => redis.member_counts(),
        }
    }

    /// Redis' error, while it refuses everything.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(redis) => redis.refusal(),
        }
    }

    /// Waits until the server turns out not to be of the kind needed, if ever: no retry helps.
    pub async fn wrong_server(&self) -> LayerError {
        match self {
            Self::Memory(_) => std::future::pending().await,
            Self::Redis(redis) => redis.wrong_server().await,
        }
    }

    /// Announces the address of this instance's API to the others, which ask there whether it
    /// delivers while they cannot. An unspecified one, such as 0.0.0.0, becomes the address by
    /// which this machine reaches Redis.
    pub fn advertise(&self, api: SocketAddr) {
        if let Self::Redis(redis) = self {
            redis.advertise(api);
        }
    }

    /// The addresses of other instances that delivered, as of the latest heartbeat.
    pub fn peer_addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Redis(redis) => redis.peer_addresses(),
        }
    }

    /// Asks every other instance that delivers. Answers arrive in any order, or not at all: the
    /// caller sets a deadline.
    pub async fn ask(&self, body: Vec<u8>) -> Result<PeerAnswers, LayerError> {
        match self {
            Self::Memory(_) => Ok(PeerAnswers::none()),
            Self::Redis(redis) => redis.ask(body).await,
        }
    }

    /// Answers a question of another instance. An answer larger than [`MAX_ANSWER`] is not sent.
    pub async fn answer(&self, question: &PeerQuestion, body: Vec<u8>) -> Result<(), LayerError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(redis) => redis.answer(question, body).await,
        }
    }

    /// The questions of other instances, for the one who answers them. There are none in memory,
    /// and none for a second caller.
    pub fn questions(&self) -> Option<mpsc::Receiver<PeerQuestion>> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(redis) => redis.questions(),
        }
    }

    /// What else shares the Redis server; `None` in memory, or if it does not say.
    pub async fn surroundings(&self) -> Option<Surroundings> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(redis) => redis.surroundings().await,
        }
    }

    /// What waits in Redis for somebody; nothing does in memory.
    pub async fn stored(&self) -> Result<StoredEntries, LayerError> {
        match self {
            Self::Memory(_) => Ok(StoredEntries::default()),
            Self::Redis(redis) => redis.stored().await,
        }
    }

    /// The current health.
    pub fn health(&self) -> Health {
        match self {
            Self::Memory(_) => Health::DELIVERING,
            Self::Redis(redis) => redis.health(),
        }
    }
}
