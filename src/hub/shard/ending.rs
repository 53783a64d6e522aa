//! The end of a step: removes what has ended from every store.

use super::closed_users::{ClosedUsers, UserEnd};
use crate::hub::context::Context;
use crate::hub::deliver::{count_dropped, group_of};
use crate::hub::join::Memberships;
use crate::hub::report::Dropped;
use crate::hub::store::{Connection, ConnectionKey, Ended, GroupKey};
use crate::socket::Source;

/// Ends memberships of closed connections, and removes connections whose sockets have ended.
pub(super) fn end_all(
    on: &mut Memberships<'_>,
    closed_users: &mut ClosedUsers,
    mut gone: impl FnMut(&Context, Connection),
) {
    while on.connections.has_ended() {
        for ended in on.connections.take_ended() {
            match ended {
                Ended::Conversation { key, code, reason, lost } => {
                    on.context.metrics().closes(code).increment(1);
                    end_conversation(on, key, &lost);
                    let (clock, connection) = (&on.context.clock, &on.connections[key]);
                    let end = UserEnd {
                        id: connection.id,
                        code,
                        reason,
                        at: clock.now(),
                        since: connection.since,
                        second: clock.second(),
                        dropped: connection.dropped.as_deref().copied().unwrap_or_default(),
                    };
                    closed_users.note(&connection.identity.sub, end);
                }
                Ended::Socket(key) => gone(on.context, on.connections.remove(key)),
            }
        }
    }
}

fn end_conversation(on: &mut Memberships<'_>, key: ConnectionKey, lost: &[(Source, u32)]) {
    for (source, count) in lost {
        count_closed(on, key, group_of(*source), u64::from(*count));
    }
    let mut chain = std::mem::take(&mut on.connections[key].chain);
    while let Some((frame, rest)) = on.turn.split(chain) {
        chain = rest;
        let group = on.turn.framed(frame).1.group;
        count_closed(on, key, group, 1);
    }
    while let Some(membership) = on.connections[key].memberships().last().copied() {
        on.end_one(key, membership.group);
    }
    let held_back = on.joins.end(key, None).len();
    count_closed(on, key, None, held_back);
}

fn count_closed(
    on: &mut Memberships<'_>,
    key: ConnectionKey,
    group: Option<GroupKey>,
    closed: u64,
) {
    let dropped = Dropped { closed, ..Dropped::default() };
    count_dropped(on.context, on.connections, on.groups, (key, group), &dropped);
}
