//! What carries publications between instances. Knows no socket and no frame.

mod envelope;
mod health;
mod history;
mod memory;
mod redis;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use aws_lc_rs::rand;
use bytes::Bytes;
use tokio::sync::mpsc;

pub use health::Health;
pub use history::{History, Retention};
pub use memory::{Broker, Memory};
pub use redis::{
    ChangedKeys, FromReply, KeyChanges, NUMBERING, Names, Redis, RedisHandle, Reply, Script,
    ScriptError, Session, doubt_of,
};
pub use settings::{External, Kind, RedisSettings, Settings};

pub use crate::event::{Control, Member, Recovery};

use crate::event::{InstanceId, Position, Publication};
use crate::group::GroupName;
use crate::telemetry::Metrics;

/// Messages that may wait for the relay of one instance, before publishers wait.
///
/// A message is at most one event (64 KiB by default), so this is at worst 64 MiB; usually the relay
/// is far faster than any publisher and the channel is empty.
pub const INCOMING: usize = 1024;

/// The layer of one instance. An enum, not a trait: there are two, and both are known.
#[derive(Debug, Clone)]
pub enum Layer {
    /// Within one process: nothing else is needed for a single instance.
    Memory(Memory),
    /// Over Redis: instances that share one act as one.
    Redis(Redis),
}

/// What the layer has for an instance.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// For the members of a subscribed group, or for another target that may be here.
    Publication(Arc<Publication>),
    /// A change that a back end asked for.
    Control(Control),
    /// What a foreign program sent to the members of a group, as it came.
    External(GroupName, Bytes),
    /// Publications may have been lost between those that came before and those that come after.
    Gap(Gap),
}

/// Whose publications may have been lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// Of every group that is subscribed.
    All,
    /// Of these.
    Groups(Vec<GroupName>),
    /// They were lost before the layer had them, so that no history has them either.
    PossibleLoss(PossibleLoss),
}

/// Whose publications may have been lost on their way to the layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PossibleLoss {
    /// Of these groups.
    Groups(Vec<GroupName>),
    /// Of all groups that share a mailbox.
    Share {
        /// The mailbox' number, from 0.
        number: u16,
        /// How many there are; see [`GroupName::share`].
        of: u16,
    },
}

/// The receiving end of an instance's layer; read by the relay alone.
pub type Inbox = mpsc::Receiver<Incoming>;

/// Why the layer did not take something. The caller may try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// The layer cannot be reached.
    #[error("the channel layer cannot be reached: {0}")]
    Unreachable(String),
    /// The address is not one of a Redis that this layer can use. The address is not repeated: it may
    /// hold a password.
    #[error("the address is not redis://[user[:password]@]host[:port][/database]: {0}")]
    Url(String),
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
    /// In memory it waits while an instance's [`Inbox`] is full, and dropping the future before it
    /// answers sends nothing. Over Redis an error, or a future dropped, leaves open whether it was
    /// sent: the answer may be all that was lost.
    pub async fn publish(&self, publication: Publication) -> Result<Option<Position>, LayerError> {
        match self {
            Self::Memory(memory) => memory.publish(publication).await,
            Self::Redis(redis) => redis.publish(publication).await,
        }
    }

    /// Sends publications in the order given; `taken` is called for each that was, in that order, with
    /// its position.
    ///
    /// After an error nothing more is sent. As with [`Layer::publish`], a future dropped in memory has
    /// not sent the next one; over Redis, where up to 256 go together, a lost answer or a future
    /// dropped leaves open whether those were sent.
    pub async fn publish_many(
        &self,
        publications: Vec<Publication>,
        mut taken: impl FnMut(Option<Position>),
    ) -> Result<(), LayerError> {
        match self {
            Self::Memory(memory) => {
                for publication in publications {
                    taken(memory.publish(publication).await?);
                }
                Ok(())
            }
            Self::Redis(redis) => redis.publish_many(publications, taken).await,
        }
    }

    /// Sends a change to every instance.
    pub async fn control(&self, control: Control) -> Result<(), LayerError> {
        match self {
            Self::Memory(memory) => memory.control(control).await,
            Self::Redis(redis) => redis.control(control).await,
        }
    }

    /// Asks for the publications of `groups`: everything accepted after the answer arrives.
    ///
    /// After an error they stay asked for, until [`Layer::unsubscribe`]: they arrive once the layer
    /// can be reached again.
    pub async fn subscribe(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        match self {
            Self::Memory(memory) => {
                memory.subscribe(groups);
                Ok(())
            }
            Self::Redis(redis) => redis.subscribe(groups).await,
        }
    }

    /// Ends what [`Layer::subscribe`] began.
    pub async fn unsubscribe(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        match self {
            Self::Memory(memory) => {
                memory.unsubscribe(groups);
                Ok(())
            }
            Self::Redis(redis) => redis.unsubscribe(groups).await,
        }
    }

    /// Where each group stands, and what was missed since the position given; in the order asked.
    pub async fn recover(
        &self,
        asked: &[(GroupName, Option<Position>)],
    ) -> Result<Vec<Recovery>, LayerError> {
        match self {
            Self::Memory(memory) => Ok(memory.recover(asked)),
            Self::Redis(redis) => redis.recover(asked).await,
        }
    }

    /// Whether publications get through at present.
    pub fn health(&self) -> Health {
        match self {
            Self::Memory(_) => Health::WELL,
            Self::Redis(redis) => redis.health(),
        }
    }
}

/// What fred says, in the layer's words.
fn unreachable(error: impl std::fmt::Display) -> LayerError {
    LayerError::Unreachable(error.to_string())
}

/// An id for a publication that came without one.
fn random_id() -> u128 {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the operating system has random bytes");
    u128::from_ne_bytes(bytes)
}
