//! Answers operators: pages of groups and connections, cut to their size while searching.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

use super::closed_users::ClosedUsers;
use super::reports::{report_group, report_user};
use crate::group::GroupName;
use crate::hub::context::Context;
use crate::hub::deliver::source_of;
use crate::hub::inspection::{
    ConnectionOrder, ConnectionQuery, ConnectionRow, EndedRow, GapRow, GroupOrder, GroupQuery,
    GroupRate, GroupRow, Inspection, LossRow, MAX_NAMED_GROUPS, MAX_ROWS, ReceiptReport,
    ReceivingConnection,
};
use crate::hub::report::Dropped;
use crate::hub::store::{
    Connection, ConnectionKey, Connections, CountedGroup, Group, GroupKey, Groups, RecentLoss,
};
use crate::identity::Operation;
use crate::protocol::Encoding;
use crate::protocol::outbound::Gap;

/// Members whose outboxes one question looks at: a millisecond of the shard's time.
const MAX_LOOKS: usize = 20_000;

/// What operators may see of a shard.
pub(super) struct Inspected<'a> {
    pub(super) context: &'a Context,
    pub(super) connections: &'a Connections,
    /// Changed only by what is counted while somebody looks.
    pub(super) groups: &'a mut Groups,
    pub(super) closed_users: &'a ClosedUsers,
}

/// Answers one question.
pub(super) fn inspect(shard: &mut Inspected<'_>, inspection: Inspection) {
    // The one who asked may have gone, here and below.
    match inspection {
        Inspection::Group(name, reply) => drop(reply.send(report_group(shard.groups, &name))),
        Inspection::User(sub, reply) => {
            let (context, connections) = (shard.context, shard.connections);
            let report = report_user(context, connections, shard.groups, shard.closed_users, &sub);
            drop(reply.send(report));
        }
        Inspection::OutboxBytes(reply) => drop(reply.send(shard.connections.waiting_bytes())),
        Inspection::Groups(query, reply) => drop(reply.send(groups(shard, &query))),
        Inspection::Connections(query, reply) => drop(reply.send(connections(shard, &query))),
        Inspection::Rates(reply) => drop(reply.send(rates(shard))),
        Inspection::Tap { group, reader, reply } => {
            let second = shard.context.clock.second();
            drop(reply.send(shard.groups.read_tap(&group, reader, second)));
        }
        Inspection::Receipt(sub, group, reply) => {
            drop(reply.send(receipt(shard, &sub, group.as_ref())));
        }
    }
}

/// The `most` greatest of `items`, the greatest first, in memory for so many.
fn top<K: Ord, T: Ord>(items: impl Iterator<Item = (K, T)>, most: usize) -> Vec<T> {
    let most = most.min(MAX_ROWS);
    let mut heap = BinaryHeap::with_capacity(most + 1);
    for item in items {
        heap.push(Reverse(item));
        if heap.len() > most {
            heap.pop();
        }
    }
    heap.into_sorted_vec().into_iter().map(|Reverse((_, value))| value).collect()
}

fn groups(shard: &Inspected<'_>, query: &GroupQuery) -> Vec<GroupRow> {
    let second = shard.context.clock.second();
    if !query.names.is_empty() {
        let names = query.names.iter().take(MAX_ROWS);
        let keys = names.filter_map(|name| shard.groups.find(&GroupName::parse(name).ok()?));
        let mut looks = MAX_LOOKS;
        let row = |key| {
            let group = shard.groups.get(key)?;
            let waiting = waiting(shard, key, group, &mut looks);
            Some(GroupRow { waiting, ..group_row(group, second) })
        };
        return keys.filter_map(row).collect();
    }
    let wanted =
        shard.groups.iter().filter(|(_, group)| group.name.as_str().contains(&query.search));
    let keys = match query.order {
        GroupOrder::Name => top(wanted.map(|(key, it)| (Reverse(&it.name), key)), query.rows),
        order => top(wanted.map(|(key, it)| (weight(it, order), key)), query.rows),
    };
    let found = keys.into_iter().filter_map(|key| shard.groups.at(key));
    found.map(|group| group_row(group, second)).collect()
}

/// The publications of a group in outboxes, if `looks` suffice for its members.
fn waiting(shard: &Inspected<'_>, key: GroupKey, group: &Group, looks: &mut usize) -> Option<u64> {
    *looks = looks.checked_sub(group.members().len())?;
    let outboxes = group.members().iter().map(|member| &shard.connections[member.connection]);
    Some(outboxes.map(|it| u64::from(it.socket.waiting_of(source_of(Some(key))))).sum())
}

fn find_group<'a>(shard: &'a Inspected<'_>, name: &GroupName) -> Option<&'a Group> {
    shard.groups.find(name).and_then(|key| shard.groups.get(key))
}

fn weight(group: &Group, order: GroupOrder) -> u64 {
    match order {
        GroupOrder::Members | GroupOrder::Name => group.members().len() as u64,
        GroupOrder::Sent => group.sent(),
        GroupOrder::Dropped => group.dropped().lost(),
    }
}

fn group_row(group: &Group, second: u32) -> GroupRow {
    GroupRow {
        name: group.name.to_string(),
        members: group.members().len() as u64,
        sent: group.sent(),
        offset: group.reached().map(|position| position.offset),
        quiet: group.last_sent().map(|at| u64::from(second.saturating_sub(at))),
        waiting: None,
        dropped: group.dropped(),
    }
}

fn connections(shard: &Inspected<'_>, query: &ConnectionQuery) -> Vec<ConnectionRow> {
    let all = shard.connections;
    let chosen: Vec<ConnectionKey> = match query {
        ConnectionQuery { id: Some(id), .. } => {
            let id = id
                .parse()
                .ok()
                .filter(|id: &crate::event::ConnectionId| id.instance == shard.context.instance);
            id.and_then(|id| all.find(id)).into_iter().collect()
        }
        ConnectionQuery { sub: Some(sub), .. } => all.of_user(sub).collect(),
        ConnectionQuery { group: Some(name), .. } => {
            let name = GroupName::parse(name).ok();
            let group = name.and_then(|name| find_group(shard, &name));
            let members = group.map_or(&[][..], Group::members);
            members.iter().map(|member| member.connection).collect()
        }
        _ => all.keys().collect(),
    };
    let is_slow = |it: &Connection| it.socket.waiting().0 > 0 || it.dropped.is_some();
    let wanted = chosen.into_iter().filter(|key| !query.slow || is_slow(&all[*key]));
    let weighed = wanted.map(|key| ((urgency(&all[key], query.order), all[key].id), key));
    let keys = top(weighed, query.rows);
    keys.into_iter().map(|key| connection_row(shard, &all[key])).collect()
}

fn urgency(connection: &Connection, order: ConnectionOrder) -> u64 {
    let dropped = connection.dropped.as_deref().map_or(0, Dropped::lost);
    match order {
        ConnectionOrder::Newest => u64::from(connection.since),
        ConnectionOrder::Oldest => u64::from(u32::MAX - connection.since),
        ConnectionOrder::Waiting => connection.socket.waiting().1 as u64,
        ConnectionOrder::Dropped => dropped,
        ConnectionOrder::Sent => connection.sent,
    }
}

fn connection_row(shard: &Inspected<'_>, connection: &Connection) -> ConnectionRow {
    let second = shard.context.clock.second();
    let (waiting, waiting_bytes) = connection.socket.waiting();
    let held = connection.memberships();
    let named = held.iter().filter_map(|m| shard.groups.get(m.group)).take(MAX_NAMED_GROUPS);
    let route = shard.context.config.routes.get(usize::from(connection.route));
    ConnectionRow {
        id: connection.id.to_string(),
        sub: connection.identity.sub.to_string(),
        v1: connection.is_v1(),
        path: route.map_or_else(String::new, |route| route.path.to_string()),
        peer: connection.socket.peer(),
        age: u64::from(second.saturating_sub(connection.since)),
        silent: u64::from(second.saturating_sub(connection.last_input)),
        round_trip: connection.socket.round_trip.millis(),
        sent: connection.sent,
        waiting: waiting as u64,
        waiting_bytes: waiting_bytes as u64,
        dropped: connection.dropped.as_deref().copied().unwrap_or_default(),
        groups: named.map(|group| group.name.to_string()).collect(),
        memberships: held.len() as u64,
    }
}

fn rates(shard: &mut Inspected<'_>) -> Vec<GroupRate> {
    let second = shard.context.clock.second();
    let counted = shard.groups.read_rates(second);
    let rate = |it: CountedGroup| {
        let group = shard.groups.get(it.group)?;
        Some(GroupRate {
            name: group.name.to_string(),
            publications: it.publications.into(),
            inherited: it.inherited.into(),
            members: group.members().len() as u64,
        })
    };
    counted.into_iter().filter_map(rate).collect()
}

fn receipt(shard: &Inspected<'_>, sub: &Arc<str>, group: Option<&GroupName>) -> ReceiptReport {
    let (context, second) = (shard.context, shard.context.clock.second());
    let losses = &shard.connections.losses;
    let concerns = |loss: &&RecentLoss| group.is_none() || loss.group.as_ref() == group;
    let refused: HashSet<_> = losses
        .refused_to(sub)
        .map(|refused| {
            (refused.group.to_string(), u64::from(second.saturating_sub(refused.second)))
        })
        .collect();
    let unix = |at: u32| context.clock.unix().saturating_sub(u64::from(second.saturating_sub(at)));
    ReceiptReport {
        connections: shard
            .connections
            .of_user(sub)
            .map(|key| receiving(shard, key, group))
            .collect(),
        ended: shard.closed_users.last(sub).map(|end| EndedRow {
            id: end.id.to_string(),
            code: end.code,
            reason: end.reason.to_owned(),
            opened: unix(end.since),
            ended: unix(end.second),
            dropped: end.dropped,
        }),
        losses: losses.of_user(sub).filter(concerns).map(|loss| loss_row(loss, unix)).collect(),
        refused: refused.into_iter().collect(),
        group: group.and_then(|name| find_group(shard, name)).map(|it| group_row(it, second)),
        unlisted: group.and_then(|name| shard.groups.unlisted(name)).map(str::to_owned),
    }
}

fn receiving(
    shard: &Inspected<'_>,
    key: ConnectionKey,
    group: Option<&GroupName>,
) -> ReceivingConnection {
    let (config, connection) = (&shard.context.config, &shard.connections[key]);
    let held = |name| shard.groups.held(shard.connections, key, name).is_some();
    let granted_by = group.and_then(|name| {
        let explained = config.policy.explain(&connection.identity, Operation::Join, name.as_str());
        let allowing = explained.checked.iter().find(|grant| grant.matches);
        allowing.map(ToString::to_string)
    });
    let lists_events = match connection.encoding {
        Encoding::V1 => false,
        Encoding::Plain(route) => config.shapes[usize::from(route)].lists_events(),
    };
    ReceivingConnection {
        row: connection_row(shard, connection),
        is_member: group.is_some_and(held),
        granted_by,
        lists_events,
    }
}

fn loss_row(loss: &RecentLoss, unix: impl Fn(u32) -> u64) -> LossRow {
    LossRow {
        connection: loss.connection.to_string(),
        group: loss.group.as_ref().map_or_else(String::new, GroupName::to_string),
        dropped: loss.dropped,
        gap: loss.gap.as_ref().map(gap_row),
        at: unix(loss.second),
    }
}

fn gap_row(gap: &Gap) -> GapRow {
    GapRow {
        reason: gap.reason.as_str().to_owned(),
        lost: gap.lost,
        range: gap.range.as_ref().map(|(first, last)| (first.offset, *last)),
        possible: gap.possible,
    }
}

#[cfg(test)]
mod tests {
    use super::top;

    #[test]
    fn keeps_the_greatest_in_order() {
        let items = [3, 9, 1, 7, 9, 4].into_iter().enumerate();
        let keyed = items.map(|(at, weight)| ((weight, at), (weight, at)));
        assert_eq!(top(keyed, 3), [(9, 4), (9, 1), (7, 3)]);
    }

    #[test]
    fn returns_all_of_a_short_list() {
        assert_eq!(top([(1, 'a'), (2, 'b')].into_iter(), 50), ['b', 'a']);
        assert!(top(std::iter::empty::<(u8, u8)>(), 50).is_empty());
    }
}
