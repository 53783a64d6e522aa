//! Ends memberships: by the client, by the server, with the connection.

use super::Memberships;
use crate::group::GroupName;
use crate::hub::deliver::{count_dropped, source_of};
use crate::hub::report::Dropped;
use crate::hub::store::{ConnectionKey, GroupKey};
use crate::protocol::outbound::{self, Held, JoinOutcome};
use crate::protocol::{Code, Refusal};

impl Memberships<'_> {
    /// Ends memberships. Returns those that were held; none if writing earlier frames closed the
    /// connection.
    pub(in crate::hub) fn leave(
        &mut self,
        key: ConnectionKey,
        names: &[GroupName],
    ) -> Vec<JoinOutcome> {
        self.delivery().write_out(key);
        if !self.connections.is_open(key) {
            return Vec::new();
        }
        let end = |name: &GroupName| {
            let outcome = match self.groups.held(self.connections, key, name) {
                Some(group) => {
                    self.end_one(key, group);
                    Ok(Held::default())
                }
                None => Err(Refusal::new(Code::NotJoined, format!("group {name} is not joined"))),
            };
            JoinOutcome { group: name.as_str().into(), outcome }
        };
        names.iter().map(end).collect()
    }

    /// Ends memberships by the server. Those whose join is not answered yet were never announced;
    /// their answer will report that they were left.
    pub(in crate::hub) fn dismiss(
        &mut self,
        key: ConnectionKey,
        names: &[GroupName],
        reason: &'static str,
    ) {
        let is_announced = |name: &&GroupName| {
            let held = self.groups.held(self.connections, key, name);
            held.is_some_and(|group| !self.joins.is_awaiting(key, Some(group)))
        };
        let announced = names.iter().filter(is_announced).cloned().collect::<Vec<_>>();
        let mut left = self.leave(key, names);
        left.retain(|outcome| announced.iter().any(|name| *name.as_str() == *outcome.group));
        if !left.is_empty() && self.connections[key].is_v1() {
            self.connections.answer(key, outbound::left(None, &left, Some(reason)), self.context);
        }
    }

    /// Removes a membership from the connection and the group, with what is held back for it.
    pub(in crate::hub) fn end_one(&mut self, key: ConnectionKey, group: GroupKey) {
        let held_back = self.joins.end(key, Some(group)).len();
        let waiting = self.connections[key].socket.forget(source_of(Some(group)));
        if waiting > 0 {
            self.connections.recount(key);
        }
        let dropped = Dropped { closed: held_back + u64::from(waiting), ..Dropped::default() };
        let place = (key, Some(group));
        count_dropped(self.context, self.connections, self.groups, place, &dropped);
        if let Some(name) = self.groups.leave(self.connections, key, group) {
            self.requests.release(name);
        }
    }
}
