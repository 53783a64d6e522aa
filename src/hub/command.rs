//! What a shard is to do.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::report::{GroupReport, UserReport};
use super::request::{Confirmation, Joined, NewConnection};
use crate::event::{ConnectionId, Control, Position, Publication};
use crate::frame::Frame;
use crate::group::GroupName;

/// One command to one shard.
pub(super) enum Command {
    Admit(Box<NewConnection>),
    Deliver(Arc<Publication>),
    Joined(Box<Joined>),
    Answer { to: ConnectionId, frame: Option<Frame> },
    Confirmed { to: ConnectionId, outcome: Confirmation },
    Control(Control),
    PossibleGap(PossibleGap),
    Positions(Option<Arc<[GroupName]>>, oneshot::Sender<Vec<(GroupName, Position)>>),
    ReportGroup(GroupName, oneshot::Sender<GroupReport>),
    ReportUser(Arc<str>, oneshot::Sender<(UserReport, Option<Instant>)>),
    ReportOutboxes(oneshot::Sender<usize>),
    Drain { rate: u32, window: Duration, grace: Duration },
}

/// Where the layer may have lost publications.
#[derive(Debug, Clone)]
pub struct PossibleGap {
    /// Whose; `None` = everybody's, also those for users, connections and all.
    pub groups: Option<Arc<[GroupName]>>,
    /// Groups of which it is known by now that nothing is missing.
    pub settled: Arc<HashSet<GroupName>>,
}
