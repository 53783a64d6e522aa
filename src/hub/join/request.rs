//! The first step of a join: adds a member whose publications are held back, and asks the layer.

use std::sync::Arc;

use super::Memberships;
use crate::event::Position;
use crate::group::GroupName;
use crate::hub::request::{Cause, Join};
use crate::hub::store::{ConnectionKey, Request};
use crate::protocol::outbound::JoinOutcome;

/// The reason reported for changes by a back end.
pub(super) const BY_BACKEND: &str = "backend";

impl Memberships<'_> {
    /// Adds pending members, whose publications are held back, and asks the layer for positions.
    pub(in crate::hub) fn ask_to_join(
        &mut self,
        key: ConnectionKey,
        cause: Cause,
        groups: Vec<(GroupName, Option<Position>)>,
        refused: Vec<(usize, JoinOutcome)>,
    ) {
        let by_backend = cause == Cause::Server(BY_BACKEND);
        let ticket = self.joins.next_ticket();
        self.connections[key].reserve_first_memberships(groups.len());
        for (name, _) in &groups {
            let limits = || self.context.config.connection.limits_of(name);
            if let Some(group) = self.groups.join(self.connections, key, name, by_backend, limits) {
                self.joins.begin(key, Some(group), ticket);
            }
        }
        let connection = &mut self.connections[key];
        match cause {
            Cause::NewConnection => self.joins.begin(key, None, ticket),
            Cause::Client(_) => connection.join_begins(),
            // Not a request of the client, so it does not count towards its limit.
            Cause::Server(_) => {}
        }
        let (shard, sub) = (self.context.index, Arc::clone(&connection.identity.sub));
        let join = Join { to: connection.id, sub, shard, ticket, cause, groups, refused };
        self.requests.request(self.connections, key, Request::Join(join));
    }
}
