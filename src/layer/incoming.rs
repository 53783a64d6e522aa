//! Messages received by an instance, and the limit of those waiting.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::event::{Control, PossibleLoss, Publication, Stamp};
use crate::group::GroupName;

/// Messages that may wait for the coordinator of one instance before publishers wait.
///
/// A message is at most one event (64 KiB by default), so at worst this is 64 MiB. The coordinator
/// is far faster than any publisher, so the channel is usually empty.
pub const INCOMING: usize = 1024;

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
pub type Inbox = mpsc::Receiver<Incoming>;
