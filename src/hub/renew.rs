//! A new token for an open connection: its grants take the place of the old at once.

use super::command::Cause;
use super::members::SeatKey;
use super::shard::Shard;
use crate::group::GroupName;
use crate::identity::Identity;
use crate::protocol::outbound;
use crate::protocol::{Code, Disconnect, Refusal};
use crate::telemetry::AuthFailure;

/// The reason told with changes that a new token made.
const BY_GRANTS: &str = "grants";

impl Shard {
    /// A failed renewal is answered and changes nothing: the old token runs out by itself.
    pub(super) fn handle_auth(&mut self, key: SeatKey, id: u64, token: &str) {
        if self.seats[key].vouched.is_some() {
            let words = "the back end vouches for this connection; no token is needed";
            return self.refuse(key, Some(id), Refusal::new(Code::Unauthorized, words));
        }
        let unix = self.clock.unix();
        let renewed = match self.blueprint.verifier.verify(token, unix) {
            Ok(identity) => identity,
            Err(refusal) => {
                if let Some(failure) = AuthFailure::from_cause(refusal.cause()) {
                    self.blueprint.metrics.auth_failures.of(failure).increment(1);
                }
                tracing::info!(connection = %self.seats[key].id, cause = refusal.cause(), "renewal refused");
                let words = "the token is not accepted; the present one stays until it runs out";
                return self.refuse(key, Some(id), Refusal::new(Code::Unauthorized, words));
            }
        };
        let seat = &self.seats[key];
        if renewed.sub != seat.identity.sub {
            tracing::info!(connection = %seat.id, "renewal names another sub");
            return self.close(key, Disconnect::FORBIDDEN.because("the token is somebody else's"));
        }
        let joins = &self.blueprint.routes[usize::from(seat.route)].join;
        let parameters = seat.parameters.as_deref().unwrap_or_default();
        match renewed.groups_on_connect(joins, parameters) {
            Ok(wanted) => self.renew(key, Some(id), renewed, wanted),
            Err(error) => {
                tracing::info!(connection = %seat.id, %error, "renewal makes an illegal name");
                let words = "the token does not fit this connection's groups";
                self.refuse(key, Some(id), Refusal::new(Code::IllegalName, words));
            }
        }
    }

    /// Puts the renewed identity in the place of the old, and its groups; `id` is what is answered.
    pub(super) fn renew(
        &mut self,
        key: SeatKey,
        id: Option<u64>,
        renewed: Identity,
        wanted: Vec<GroupName>,
    ) {
        let lost = self.lost_by(key, &renewed, &wanted);
        let expires_in = renewed.expires_at.saturating_sub(self.clock.unix());
        let seat = &mut self.seats[key];
        // The old text of the sub is shared with the shard's index; the new copy can go.
        let sub = seat.identity.sub.clone();
        seat.identity = renewed;
        seat.identity.sub = sub;
        seat.warned = false;
        self.schedule(key);
        if let Some(id) = id {
            self.answer(key, outbound::authed(id, expires_in));
        }
        if !lost.is_empty() {
            self.dismiss(key, &lost, BY_GRANTS);
        }
        self.join_more(key, wanted);
    }

    /// The groups that the connection holds by its old token and may not hold by the new one.
    fn lost_by(&self, key: SeatKey, renewed: &Identity, wanted: &[GroupName]) -> Vec<GroupName> {
        let by_token = self.seats[key].memberships.iter().filter(|m| !m.by_backend);
        let names = by_token.map(|m| &self.groups.get(m.group).name);
        let policy = &self.blueprint.policy;
        names.filter(|name| !policy.may_still_hold(renewed, wanted, name)).cloned().collect()
    }

    fn join_more(&mut self, key: SeatKey, mut wanted: Vec<GroupName>) {
        let Some(seat) = self.seats.get_mut(key).filter(|seat| !seat.is_closing()) else { return };
        let most = self.blueprint.connection.groups_per_connection;
        let room = most.saturating_sub(seat.memberships.len());
        wanted.retain(|name| self.groups.held(&self.seats, key, name).is_none());
        wanted.truncate(room);
        if !wanted.is_empty() {
            let groups = wanted.into_iter().map(|name| (name, None)).collect();
            self.ask_to_join(key, Cause::Server(BY_GRANTS), groups, Vec::new());
        }
    }
}
