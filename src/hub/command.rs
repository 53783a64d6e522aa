//! Commands to a shard, by the lane in which they wait.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::inspection::Inspection;
use super::request::{Answer, Confirmation, Joined, NewConnection};
use crate::event::{ConnectionId, Control, Position, Publication, Stamp};
use crate::group::GroupName;
use crate::protocol::Disconnect;

/// Commands that take effect in order with the publications.
///
/// A leave that overtook a publication would hide it; a close would cut off the last event before
/// it.
pub(super) enum OrderedCommand {
    /// Of what is not for a group, only to the connections admitted before it was posted: it waits
    /// behind others while a user comes back, who had it on the connection before.
    Deliver(Arc<Publication>, PostedAt),
    /// To this member of the publication's group alone.
    DeliverToMember(ConnectionId, Arc<Publication>),
    /// Concerns the connections admitted before it was posted and, if it has a stamp, of those only
    /// the ones with a smaller stamp.
    Control(Control, Option<Stamp>, PostedAt),
    /// Closes the connections admitted before it was posted, each with a window to come back in.
    CloseAll(Disconnect, PostedAt),
    /// The answer to a call, after the membership changes that came with it.
    Answer(Answer),
    PossibleGap(PossibleGap),
    Positions(Option<Arc<[GroupName]>>, oneshot::Sender<Vec<(GroupName, Position)>>),
}

/// Commands that need no order relative to publications and do not wait for them.
pub(super) enum PromptCommand {
    Admit(Box<NewConnection>, PostedAt),
    Joined(Box<Joined>),
    Answer(Answer),
    Confirmed { to: ConnectionId, outcome: Confirmation },
    Inspect(Inspection),
    Drain { rate: u32, window: Duration, grace: Duration },
}

/// Orders changes and new connections of one shard, across both lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PostedAt(pub(super) u64);

/// Where the layer may have lost publications.
#[derive(Debug, Clone)]
pub(crate) struct PossibleGap {
    /// In these groups; `None` = in all groups and for all other targets.
    pub groups: Option<Arc<[GroupName]>>,
    /// Groups that are known to miss nothing.
    pub settled: Arc<HashSet<GroupName>>,
}
