//! What operators ask of the shards: pages of groups and connections, rates, one user's receipt.
//!
//! Answers are plain values that instances exchange as JSON; a field that an older instance does
//! not send has a default. Lists are cut in the shard, so none grows with the instance.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::report::{Dropped, GroupReport, UserReport};
use crate::event::Publication;
use crate::group::GroupName;

/// Most rows that one question returns.
pub(crate) const MAX_ROWS: usize = 1000;

/// Most groups that the row of a connection names.
pub(crate) const MAX_NAMED_GROUPS: usize = 32;

/// A question to one shard, with where its answer goes. The one who asked may have gone.
pub(super) enum Inspection {
    Group(GroupName, oneshot::Sender<GroupReport>),
    User(Arc<str>, oneshot::Sender<(UserReport, Option<Instant>)>),
    OutboxBytes(oneshot::Sender<usize>),
    Groups(GroupQuery, oneshot::Sender<Vec<GroupRow>>),
    Connections(ConnectionQuery, oneshot::Sender<Vec<ConnectionRow>>),
    Rates(oneshot::Sender<Vec<GroupRate>>),
    Tap { group: GroupName, reader: u64, reply: oneshot::Sender<TapReading> },
    Receipt(Arc<str>, Option<GroupName>, oneshot::Sender<ReceiptReport>),
}

/// Publications of a tapped group since the last reading, and how many found no room.
pub(crate) type TapReading = (Vec<Arc<Publication>>, u64);

/// The order of a list of groups; the first rows are the most interesting ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupOrder {
    /// Most members first.
    #[default]
    Members,
    /// Most publications passed on first.
    Sent,
    /// Most dropped publications first.
    Dropped,
    /// By name.
    Name,
}

/// A page of the groups of an instance.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct GroupQuery {
    /// The order.
    #[serde(default)]
    pub order: GroupOrder,
    /// Part of the name; empty = all.
    #[serde(default)]
    pub search: String,
    /// These alone, if there are any: to add up what several shards or instances know.
    #[serde(default)]
    pub names: Vec<String>,
    /// Rows from the beginning of the order, at most [`MAX_ROWS`].
    pub rows: usize,
}

/// A group on one or several instances.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GroupRow {
    /// Its name.
    pub name: String,
    /// Connections that are members.
    pub members: u64,
    /// Publications passed to members, counted once per member.
    pub sent: u64,
    /// Offset of the newest publication, if the group has positions.
    pub offset: Option<u64>,
    /// Seconds since the last publication, if there was one since the first member came.
    pub quiet: Option<u64>,
    /// Its publications that wait in outboxes; `None` = there are too many members to look at.
    pub waiting: Option<u64>,
    /// What was not delivered.
    pub dropped: Dropped,
}

/// The order of a list of connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConnectionOrder {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
    /// Most bytes in the outbox first.
    Waiting,
    /// Most dropped publications first.
    Dropped,
    /// Most frames written first.
    Sent,
}

/// A page of the connections of an instance.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ConnectionQuery {
    /// The order.
    #[serde(default)]
    pub order: ConnectionOrder,
    /// Of this user alone.
    #[serde(default)]
    pub sub: Option<String>,
    /// Members of this group alone.
    #[serde(default)]
    pub group: Option<String>,
    /// This connection alone.
    #[serde(default)]
    pub id: Option<String>,
    /// Only those with a queue or with losses.
    #[serde(default)]
    pub slow: bool,
    /// Rows from the beginning of the order, at most [`MAX_ROWS`].
    pub rows: usize,
}

/// One connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ConnectionRow {
    /// Its id, which begins with its instance's.
    pub id: String,
    /// Whose it is.
    pub sub: String,
    /// Whether it speaks `groupcast.v1.json`.
    pub v1: bool,
    /// The path of its route.
    pub path: String,
    /// The peer of its socket: the client, or the proxy in front of it.
    pub peer: Option<SocketAddr>,
    /// Seconds since it arrived.
    pub age: u64,
    /// Seconds since it was last heard of.
    pub silent: u64,
    /// Milliseconds from the last ping to its pong, the time that the client took included.
    pub round_trip: Option<u64>,
    /// Frames written.
    pub sent: u64,
    /// Frames in the outbox.
    pub waiting: u64,
    /// Bytes in the outbox.
    pub waiting_bytes: u64,
    /// What was not delivered.
    pub dropped: Dropped,
    /// The first [`MAX_NAMED_GROUPS`] of its groups.
    pub groups: Vec<String>,
    /// How many groups it has joined.
    pub memberships: u64,
}

/// A group's publications since the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GroupRate {
    /// Its name.
    pub name: String,
    /// Publications, possibly too many by `inherited`.
    pub publications: u64,
    /// By how many at most.
    pub inherited: u64,
    /// Members here.
    pub members: u64,
}

/// What became of a user's connections, and of a group's publications for them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ReceiptReport {
    /// The user's open connections.
    pub connections: Vec<ReceivingConnection>,
    /// The user's last connection that ended, while it is remembered.
    pub ended: Option<EndedRow>,
    /// What the user's connections missed lately, those that have ended among them.
    pub losses: Vec<LossRow>,
    /// Groups that the user was refused lately, with the seconds since.
    pub refused: Vec<(String, u64)>,
    /// The group, if it has members here.
    pub group: Option<GroupRow>,
    /// A type of event of the group that a route did not list lately.
    pub unlisted: Option<String>,
}

/// One connection of the user, as far as the group concerns it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ReceivingConnection {
    /// The connection.
    pub row: ConnectionRow,
    /// Whether it is a member of the group.
    pub is_member: bool,
    /// What grants the group to it; `None` = nothing.
    pub granted_by: Option<String>,
    /// Whether its route lists the events that it passes on.
    pub lists_events: bool,
}

/// The end of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EndedRow {
    /// Its id.
    pub id: String,
    /// The close code as counted.
    pub code: u16,
    /// What was said or known.
    pub reason: String,
    /// When it arrived, seconds since 1970.
    pub opened: u64,
    /// When it ended, seconds since 1970.
    pub ended: u64,
    /// What was not delivered to it.
    pub dropped: Dropped,
}

/// What one connection missed of one group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LossRow {
    /// The connection.
    pub connection: String,
    /// The group; empty = what was for the user, the connection or all.
    pub group: String,
    /// Publications, by cause.
    pub dropped: Dropped,
    /// The newest gap that was announced.
    pub gap: Option<GapRow>,
    /// When it last changed, seconds since 1970.
    pub at: u64,
}

/// A gap as it was announced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GapRow {
    /// As in the protocol: `slow`, `expired`, `layer`, `history`.
    pub reason: String,
    /// The number of missed publications, if known.
    pub lost: Option<u64>,
    /// The first and the last missed offset, where the group has positions.
    pub range: Option<(u64, u64)>,
    /// Whether the loss is only possible.
    pub possible: bool,
}
