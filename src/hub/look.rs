//! Answers to those who ask what happened to a group or a user.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::members::SeatKey;
use super::report::{ConnectionReport, GroupReport, UserReport};
use super::shard::Shard;
use crate::bounded_map::{BoundedMap, Limits};
use crate::group::GroupName;

/// Closes whose users are remembered: long enough to be asked about, bounded.
pub(super) const REMEMBERED: usize = 4096;

/// The last close code of the users whose connections were the last [`REMEMBERED`] to end.
pub(super) struct ClosedUsers(BoundedMap<Arc<str>, (u16, Instant)>);

impl ClosedUsers {
    pub(super) fn note(&mut self, sub: &Arc<str>, code: u16, at: Instant) {
        self.0.insert(Arc::clone(sub), (code, at), 0);
    }

    /// The code of a user's last close and when it was, while it is remembered.
    pub(super) fn last(&self, sub: &str) -> Option<(u16, Instant)> {
        self.0.get(sub).copied()
    }
}

impl Default for ClosedUsers {
    fn default() -> Self {
        Self(BoundedMap::new(Limits::entries(REMEMBERED)))
    }
}

impl Shard {
    pub(super) fn report_group(&self, name: &GroupName) -> GroupReport {
        let Some(key) = self.groups.find(name) else { return GroupReport::default() };
        let group = self.groups.get(key);
        GroupReport {
            connections: group.members.len() as u64,
            sent: group.sent,
            last_offset: group.reached.as_ref().map(|position| position.offset),
            dropped: group.dropped,
        }
    }

    /// Bytes in all outboxes. Asked for now and then: a running sum would cost every delivery.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.seats.keys().map(|key| self.seats[key].connection.waiting().1).sum()
    }

    /// What is known of a user, and when the last close was: several shards may know of one.
    pub(super) fn report_user(&self, sub: &str) -> (UserReport, Option<Instant>) {
        let (last_close, at) = self.closed_users.last(sub).unzip();
        let connections = self.seats.of_user(sub).map(|key| self.report_connection(key)).collect();
        (UserReport { connections, last_close }, at)
    }

    fn report_connection(&self, key: SeatKey) -> ConnectionReport {
        let seat = &self.seats[key];
        let (waiting, waiting_bytes) = seat.connection.waiting();
        let names = seat.memberships.iter().map(|m| self.groups.get(m.group).name.clone());
        ConnectionReport {
            id: seat.id,
            v1: seat.is_v1(),
            age: Duration::from_secs(u64::from(self.clock.second() - seat.since)),
            groups: names.collect(),
            sent: seat.sent,
            waiting,
            waiting_bytes,
            dropped: seat.dropped.as_deref().copied().unwrap_or_default(),
        }
    }
}
