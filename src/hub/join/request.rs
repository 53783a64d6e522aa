//! The first step of a join: a member whose publications are held back, and a question.

use super::Memberships;
use crate::event::Position;
use crate::group::GroupName;
use crate::hub::request::{Cause, Join};
use crate::hub::store::{ConnectionKey, Request};
use crate::protocol::outbound::JoinOutcome;

/// The reason given with changes that a back end made.
pub(super) const BY_BACKEND: &str = "backend";

impl Memberships<'_> {
    /// Makes `key` a member that is held back, and asks the layer for its groups' positions.
    pub(in crate::hub) fn ask_to_join(
        &mut self,
        key: ConnectionKey,
        cause: Cause,
        groups: Vec<(GroupName, Option<Position>)>,
        refused: Vec<(usize, JoinOutcome)>,
    ) {
        let by_backend = cause == Cause::Server(BY_BACKEND);
        let ticket = self.joins.next_ticket();
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
            // Not the client's request: what it may ask for does not depend on it.
            Cause::Server(_) => {}
        }
        let shard = self.context.index;
        let join = Join { to: connection.id, shard, ticket, cause, groups, refused };
        self.requests.request(self.connections, key, Request::Join(join));
    }
}
