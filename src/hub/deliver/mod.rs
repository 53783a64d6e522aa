//! Delivery: frames each publication once, links every receiver, writes each socket once.

mod fan_out;
mod gaps;
mod write;

use super::context::Context;
use super::report::Dropped;
use super::store::{ConnectionKey, Connections, GroupKey, Groups, Joins, Turn};

pub(super) use gaps::{POSSIBLE_GAP, missing, positions};
pub(super) use write::{finish_turn, group_of, source_of};

/// All that a delivery changes.
///
/// It has no access to requests, timers or the poll: a fan-out makes no requests, and a connection
/// that fails is marked in [`Connections`], not removed.
pub(super) struct Delivery<'a> {
    pub(super) context: &'a Context,
    pub(super) connections: &'a mut Connections,
    pub(super) groups: &'a mut Groups,
    pub(super) joins: &'a mut Joins,
    pub(super) turn: &'a mut Turn,
}

/// Counts publications dropped for a connection: for it, its group and the process.
pub(super) fn count_dropped(
    context: &Context,
    connections: &mut Connections,
    groups: &mut Groups,
    (key, group): (ConnectionKey, Option<GroupKey>),
    dropped: &Dropped,
) {
    if *dropped == Dropped::default() {
        return;
    }
    connections[key].dropped.get_or_insert_default().add(dropped);
    let name = |key| groups.get(key).map(|group| group.name.clone());
    let second = context.clock.second();
    connections.recent_loss((key, group), name, second).dropped.add(dropped);
    if let Some(group) = group {
        groups.count_dropped(group, dropped);
    }
    for (reason, count) in dropped.by_reason() {
        context.by_label.dropped.of(reason).increment(count);
    }
}

impl Delivery<'_> {
    fn count(&mut self, key: ConnectionKey, group: Option<GroupKey>, dropped: &Dropped) {
        count_dropped(self.context, self.connections, self.groups, (key, group), dropped);
    }
}
