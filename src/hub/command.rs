//! What a shard is to do, by the lane in which it waits.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::report::{GroupReport, UserReport};
use super::request::{Answer, Confirmation, Joined, NewConnection};
use crate::event::{ConnectionId, Control, Position, Publication};
use crate::group::GroupName;

/// What takes effect at its place among the publications.
///
/// A leave that overtook a publication would hide it; a close would cut off the farewell before it.
pub(super) enum OrderedCommand {
    Deliver(Arc<Publication>),
    /// The change concerns the connections admitted before it was posted.
    Control(Control, PostedAt),
    /// The answer to a call, behind the changes that came with it.
    Answer(Answer),
    PossibleGap(PossibleGap),
    Positions(Option<Arc<[GroupName]>>, oneshot::Sender<Vec<(GroupName, Position)>>),
}

/// What has no place among the publications, and does not wait for them.
pub(super) enum PromptCommand {
    Admit(Box<NewConnection>, PostedAt),
    Joined(Box<Joined>),
    Answer(Answer),
    Confirmed { to: ConnectionId, outcome: Confirmation },
    ReportGroup(GroupName, oneshot::Sender<GroupReport>),
    ReportUser(Arc<str>, oneshot::Sender<(UserReport, Option<Instant>)>),
    ReportOutboxes(oneshot::Sender<usize>),
    Drain { rate: u32, window: Duration, grace: Duration },
}

/// A moment in the order in which changes and connections came to one shard, whatever lane they
/// waited in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PostedAt(pub(super) u64);

/// Where the layer may have lost publications.
#[derive(Debug, Clone)]
pub struct PossibleGap {
    /// Whose; `None` = everybody's, also those for users, connections and all.
    pub groups: Option<Arc<[GroupName]>>,
    /// Groups of which it is known by now that nothing is missing.
    pub settled: Arc<HashSet<GroupName>>,
}
