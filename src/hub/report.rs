//! Reports about groups and users, to answer why an event did not arrive.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::metrics::DropReason;
use crate::event::ConnectionId;
use crate::group::GroupName;

/// Publications that were not delivered, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Dropped {
    /// The group's capacity within an outbox was reached.
    pub capacity: u64,
    /// The outbox's byte bound was reached.
    pub bytes: u64,
    /// They expired while waiting.
    pub expired: u64,
    /// The route does not list the event.
    pub unlisted: u64,
    /// The connection ended, or left the group, while they waited.
    pub closed: u64,
    /// A newer one took their place, in a group that keeps only the latest.
    pub superseded: u64,
}

/// The report of one instance about a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GroupReport {
    /// Members here.
    pub connections: u64,
    /// Publications passed to members' connections, counted once per member, since the group's
    /// first member here. Publications dropped afterwards are also counted below.
    pub sent: u64,
    /// Offset of the newest publication seen, if the group has positions.
    pub last_offset: Option<u64>,
    /// What was not delivered.
    pub dropped: Dropped,
}

/// The report of one instance about a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UserReport {
    /// The user's connections here.
    pub connections: Vec<ConnectionReport>,
    /// The close code of the user's last connection that ended, while it is remembered.
    pub last_close: Option<u16>,
}

/// The report of one instance about a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionReport {
    /// The connection.
    pub id: ConnectionId,
    /// Whether it is a v1 connection, not a plain one.
    pub v1: bool,
    /// How long it has been open.
    pub age: Duration,
    /// Groups that it has joined.
    pub groups: Vec<GroupName>,
    /// Frames written to its socket.
    pub sent: u64,
    /// Frames waiting in its outbox.
    pub waiting: usize,
    /// Bytes waiting in its outbox.
    pub waiting_bytes: usize,
    /// What was not delivered.
    pub dropped: Dropped,
}

impl Dropped {
    /// The counts by label of the metrics, without zeros.
    pub(super) fn by_reason(&self) -> impl Iterator<Item = (DropReason, u64)> {
        let all = [
            (DropReason::Capacity, self.capacity),
            (DropReason::Bytes, self.bytes),
            (DropReason::Expired, self.expired),
            (DropReason::Unlisted, self.unlisted),
            (DropReason::Closed, self.closed),
            (DropReason::Superseded, self.superseded),
        ];
        all.into_iter().filter(|(_, count)| *count > 0)
    }

    /// What a reader misses: all but what a newer one replaced.
    pub(crate) fn lost(&self) -> u64 {
        self.capacity + self.bytes + self.expired + self.unlisted + self.closed
    }

    /// Adds other counts to these.
    pub(crate) fn add(&mut self, other: &Self) {
        self.capacity += other.capacity;
        self.bytes += other.bytes;
        self.expired += other.expired;
        self.unlisted += other.unlisted;
        self.closed += other.closed;
        self.superseded += other.superseded;
    }
}
