//! Builds the reports about a group or a user.

use std::time::{Duration, Instant};

use super::closed_users::ClosedUsers;
use crate::group::GroupName;
use crate::hub::context::Context;
use crate::hub::report::{ConnectionReport, GroupReport, UserReport};
use crate::hub::store::{Connection, Connections, Groups};

pub(super) fn report_group(groups: &Groups, name: &GroupName) -> GroupReport {
    let Some(group) = groups.find(name).and_then(|key| groups.get(key)) else {
        return GroupReport::default();
    };
    GroupReport {
        connections: group.members().len() as u64,
        sent: group.sent(),
        last_offset: group.reached().map(|position| position.offset),
        dropped: group.dropped(),
    }
}

/// The report about a user, with the time of the last close, since several shards may have one.
pub(super) fn report_user(
    context: &Context,
    connections: &Connections,
    groups: &Groups,
    closed_users: &ClosedUsers,
    sub: &str,
) -> (UserReport, Option<Instant>) {
    let (last_close, at) = closed_users.last(sub).map(|end| (end.code, end.at)).unzip();
    let second = context.clock.second();
    let report = |key| report_connection(&connections[key], groups, second);
    let connections = connections.of_user(sub).map(report).collect();
    (UserReport { connections, last_close }, at)
}

fn report_connection(connection: &Connection, groups: &Groups, second: u32) -> ConnectionReport {
    let (waiting, waiting_bytes) = connection.socket.waiting();
    let held = connection.memberships().iter().filter_map(|m| groups.get(m.group));
    ConnectionReport {
        id: connection.id,
        v1: connection.is_v1(),
        age: Duration::from_secs(u64::from(second - connection.since)),
        groups: held.map(|group| group.name.clone()).collect(),
        sent: connection.sent,
        waiting,
        waiting_bytes,
        dropped: connection.dropped.as_deref().copied().unwrap_or_default(),
    }
}
