//! What carries publications between instances. Knows no socket and no frame.

mod memory;

use std::sync::Arc;

use tokio::sync::mpsc;

pub use memory::{Broker, Memory};

pub use crate::event::{Control, Member, Recovery};

use crate::event::{Position, Publication};
use crate::group::GroupName;

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
}

/// What the layer has for an instance.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// For the members of a subscribed group, or for another target that may be here.
    Publication(Arc<Publication>),
    /// A change that a back end asked for.
    Control(Control),
}

/// The receiving end of an instance's layer; read by the relay alone.
pub type Inbox = mpsc::Receiver<Incoming>;

/// Why the layer did not take something. The caller may try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// The layer cannot be reached.
    #[error("the channel layer cannot be reached: {0}")]
    Unreachable(String),
}

impl Layer {
    /// Sends a publication to every instance that wants it; the answer is its position.
    ///
    /// Waits while an instance's [`Inbox`] is full. Dropping the future before it answers sends
    /// nothing.
    pub async fn publish(&self, publication: Publication) -> Result<Option<Position>, LayerError> {
        match self {
            Self::Memory(memory) => memory.publish(publication).await,
        }
    }

    /// Sends a change to every instance.
    pub async fn control(&self, control: Control) -> Result<(), LayerError> {
        match self {
            Self::Memory(memory) => memory.control(control).await,
        }
    }

    /// Asks for the publications of `groups`: everything accepted after the answer arrives.
    pub async fn subscribe(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        match self {
            Self::Memory(memory) => memory.subscribe(groups),
        }
        Ok(())
    }

    /// Ends what [`Layer::subscribe`] began.
    pub async fn unsubscribe(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        match self {
            Self::Memory(memory) => memory.unsubscribe(groups),
        }
        Ok(())
    }

    /// Where each group stands, and what was missed since the position given; in the order asked.
    pub async fn recover(
        &self,
        asked: &[(GroupName, Option<Position>)],
    ) -> Result<Vec<Recovery>, LayerError> {
        match self {
            Self::Memory(_) => Ok(Memory::recover(asked)),
        }
    }
}
