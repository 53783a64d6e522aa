//! Messages received by an instance, and the limit of those waiting.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::fair_backlog::Backlog;
use super::group_queues::{Next, QueueKey, Queued};
use crate::event::{Control, PossibleLoss, Publication, Stamp};
use crate::group::GroupName;

/// A message received by an instance.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// For the members of a subscribed group, or for another target that may be here.
    Publication(Arc<Publication>),
    /// A command of a back end, with its stamp if it may arrive late. Then it does not concern
    /// connections with a greater or equal one; see [`Layer::stamp`](super::Layer::stamp).
    Control(Control, Option<Stamp>),
    /// Connections of this user were closed before this instance received commands.
    ClosedEarlier(Arc<str>),
    /// Commands were missed for good, so any may have concerned any connection.
    CommandsMissed,
    /// A message that an external program sent to a group, in its own format.
    External(GroupName, Bytes),
    /// Publications may have been lost at this point.
    Loss(Loss),
}

/// Which publications may have been lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// Those of every subscribed group, on the way here. Histories may have them.
    All,
    /// Those of these groups, on their way here. Histories may have them.
    Groups(Vec<GroupName>),
    /// Those lost before they reached the layer: no history has them.
    Possible(PossibleLoss),
}

/// The receiving end of an instance's layer; only the coordinator reads it.
#[derive(Debug)]
pub struct Inbox(Receiver);

#[derive(Debug)]
enum Receiver {
    /// What took turns before.
    Channel(mpsc::Receiver<Incoming>),
    /// What takes turns here.
    Queues(Backlog<Incoming>),
}

impl Inbox {
    pub(super) fn of_channel(channel: mpsc::Receiver<Incoming>) -> Self {
        Self(Receiver::Channel(channel))
    }

    pub(super) fn of_queues(queues: Backlog<Incoming>) -> Self {
        Self(Receiver::Queues(queues))
    }

    /// The next message; `None` = the layer has ended.
    pub async fn recv(&mut self) -> Option<Incoming> {
        match &mut self.0 {
            Receiver::Channel(channel) => channel.recv().await,
            Receiver::Queues(queues) => queues.next().await.map(Incoming::from),
        }
    }

    /// Waits for a message, and adds it and those that are there, up to `most`, to `batch`. Returns
    /// how many; 0 = the layer has ended. Dropping the future takes nothing.
    pub(crate) async fn recv_many(&mut self, batch: &mut Vec<Incoming>, most: usize) -> usize {
        let queues = match &mut self.0 {
            Receiver::Channel(channel) => return channel.recv_many(batch, most).await,
            Receiver::Queues(queues) => queues,
        };
        let Some(first) = queues.next().await else { return 0 };
        let others = std::iter::from_fn(|| queues.try_next()).take(most - 1);
        let before = batch.len();
        batch.extend(std::iter::once(first).chain(others).map(Incoming::from));
        batch.len() - before
    }

    /// The next message, if there is one.
    #[cfg(test)]
    pub(crate) fn try_recv(&mut self) -> Option<Incoming> {
        match &mut self.0 {
            Receiver::Channel(channel) => channel.try_recv().ok(),
            Receiver::Queues(queues) => {
                let next = queues.try_next();
                queues.freed();
                next.map(Incoming::from)
            }
        }
    }
}

/// Publishers must not wait for an instance that has ended.
impl Drop for Inbox {
    fn drop(&mut self) {
        if let Receiver::Queues(queues) = &self.0 {
            queues.end();
        }
    }
}

impl Incoming {
    /// The queue that it waits in; `None` = it concerns everybody.
    pub(super) fn queue(&self) -> Option<QueueKey> {
        match self {
            Self::Publication(publication) => QueueKey::of(&publication.target),
            Self::External(group, _) => Some(QueueKey::Group(group.clone())),
            Self::Control(..) | Self::ClosedEarlier(_) | Self::CommandsMissed | Self::Loss(_) => {
                None
            }
        }
    }
}

/// Bytes that a command counts as.
const COMMAND: usize = 256;

impl Queued for Incoming {
    fn bytes(&self) -> Option<usize> {
        match self {
            Self::Publication(publication) => Some(publication.event.json().len()),
            Self::External(_, bytes) => Some(bytes.len()),
            Self::Control(..) | Self::ClosedEarlier(_) | Self::CommandsMissed => Some(COMMAND),
            Self::Loss(_) => None,
        }
    }

    fn loss_of_all(_: u64) -> Self {
        Self::Loss(Loss::All)
    }

    fn merge(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Loss(Loss::All), Self::Loss(Loss::All)) => None,
            (_, next) => Some(next),
        }
    }
}

impl From<Next<Self>> for Incoming {
    fn from(next: Next<Self>) -> Self {
        match next {
            Next::Entry(incoming) => incoming,
            Next::Lost(QueueKey::Group(group), _) => Self::Loss(Loss::Groups(vec![group])),
            Next::Lost(..) => Self::Loss(Loss::All),
        }
    }
}
