//! Replaces the identity of an open connection; the new grants apply immediately.

use super::Memberships;
use crate::group::GroupName;
use crate::hub::request::Cause;
use crate::hub::store::{ConnectionKey, Renewal};
use crate::identity::{FillError, Identity};
use crate::protocol::outbound;

/// The reason reported for changes by new grants.
const BY_GRANTS: &str = "grants";

impl Memberships<'_> {
    /// Replaces the identity and its groups. `id` is that of the request to answer.
    pub(in crate::hub) fn renew(
        &mut self,
        key: ConnectionKey,
        id: Option<u64>,
        renewed: Identity,
        wanted: Vec<GroupName>,
    ) {
        let lost = self.lost_by(key, &renewed, &wanted);
        let expires_in = renewed.expires_at.saturating_sub(self.context.clock.unix());
        let connection = &mut self.connections[key];
        // The old text of the sub is shared with the shard's index; the new copy can go.
        let sub = connection.identity.sub.clone();
        connection.identity = renewed;
        connection.identity.sub = sub;
        if matches!(connection.renewal, Renewal::Token { .. }) {
            connection.renewal = Renewal::token(expires_in);
        }
        self.connections.reschedule(key);
        if let Some(id) = id {
            self.connections.answer(key, outbound::authed(id, expires_in), self.context);
        }
        if !lost.is_empty() {
            self.dismiss(key, &lost, BY_GRANTS);
        }
        self.join_more(key, wanted);
    }

    /// The groups that a connection of this identity joins by its route and its token.
    pub(in crate::hub) fn groups_on_connect(
        &self,
        key: ConnectionKey,
        identity: &Identity,
    ) -> Result<Vec<GroupName>, FillError> {
        let connection = &self.connections[key];
        let route = &self.context.config.routes[usize::from(connection.route)];
        let parameters = connection.parameters.as_deref().unwrap_or_default();
        identity.groups_on_connect(&route.join, parameters)
    }

    /// The groups that the connection has joined and that the new identity does not allow.
    fn lost_by(
        &self,
        key: ConnectionKey,
        renewed: &Identity,
        wanted: &[GroupName],
    ) -> Vec<GroupName> {
        let memberships = self.connections[key].memberships();
        let by_grants = memberships.iter().filter(|membership| !membership.by_backend);
        let groups = by_grants.filter_map(|membership| self.groups.get(membership.group));
        let policy = &self.context.config.policy;
        let names = groups.map(|group| &group.name);
        names.filter(|name| !policy.may_still_hold(renewed, wanted, name)).cloned().collect()
    }

    fn join_more(&mut self, key: ConnectionKey, mut wanted: Vec<GroupName>) {
        if !self.connections.is_open(key) {
            return;
        }
        let most = self.context.config.connection.groups_per_connection;
        let room = most.saturating_sub(self.connections[key].memberships().len());
        wanted.retain(|name| self.groups.held(self.connections, key, name).is_none());
        wanted.truncate(room);
        if !wanted.is_empty() {
            let groups = wanted.into_iter().map(|name| (name, None)).collect();
            self.ask_to_join(key, Cause::Server(BY_GRANTS), groups, Vec::new());
        }
    }
}
