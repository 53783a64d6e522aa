//! Answers to those who ask what happened to a group or a user.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::members::SeatKey;
use super::report::{ConnectionReport, GroupReport, UserReport};
use super::shard::Shard;
use crate::group::GroupName;

/// Users whose last close is remembered: long enough to be asked about, bounded.
const REMEMBERED: usize = 4096;

/// The last close code of users who are gone, newest [`REMEMBERED`] of them.
#[derive(Default)]
pub(super) struct ClosedUsers {
    codes: HashMap<Arc<str>, u16>,
    order: VecDeque<Arc<str>>,
}

impl ClosedUsers {
    pub(super) fn note(&mut self, sub: &Arc<str>, code: u16) {
        if self.codes.insert(Arc::clone(sub), code).is_some() {
            return;
        }
        self.order.push_back(Arc::clone(sub));
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.codes.remove(&oldest);
        }
    }
}

impl Shard {
    pub(super) fn report_group(&self, name: &GroupName) -> GroupReport {
        let Some(key) = self.groups.find(name) else { return GroupReport::default() };
        let group = self.groups.get(key);
        GroupReport {
            connections: group.members.len() as u64,
            sent: group.sent,
            last_offset: group.last_offset,
            dropped: group.dropped,
        }
    }

    pub(super) fn report_user(&self, sub: &str) -> UserReport {
        UserReport {
            connections: self.seats.of_user(sub).map(|key| self.report_connection(key)).collect(),
            last_close: self.closed_users.codes.get(sub).copied(),
        }
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
