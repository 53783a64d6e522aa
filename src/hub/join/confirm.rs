//! Confirms connections that the hook authenticated, by asking it again.

use std::sync::Arc;

use super::Memberships;
use crate::event::ConnectionId;
use crate::hub::context::Context;
use crate::hub::request::{Confirm, Confirmation};
use crate::hub::store::{ConnectionKey, Connections, Request, RequestQueue};
use crate::identity::Identity;
use crate::protocol::Disconnect;

/// Requests a confirmation of a connection from the hook.
pub(in crate::hub) fn ask_to_confirm(
    context: &Context,
    connections: &mut Connections,
    requests: &mut RequestQueue,
    key: ConnectionKey,
) {
    let connection = &mut connections[key];
    let to = connection.id;
    let Some(hook) = connection.renewal.hook_mut() else { return };
    hook.is_asked = true;
    let confirm = Confirm { to, shard: context.index, request: Arc::clone(&hook.request) };
    requests.request(connections, key, Request::Confirm(confirm));
}

impl Memberships<'_> {
    /// Replaces the identity by the hook's new answer, or closes the connection.
    pub(in crate::hub) fn confirmed(&mut self, to: ConnectionId, outcome: Confirmation) {
        let key = self.connections.find(to).filter(|key| self.connections.is_open(*key));
        let Some(key) = key else { return };
        let unix = self.context.clock.unix();
        let Some(hook) = self.connections[key].renewal.hook_mut() else { return };
        hook.is_asked = false;
        match outcome {
            Confirmation::StillValid { identity, ask_at } => {
                // Otherwise an answer that is already due would be requested again in the same
                // turn.
                hook.ask_at = ask_at.max(unix + 1);
                self.replace_identity(key, identity);
            }
            Confirmation::Ended(disconnect) => {
                self.connections.close(key, disconnect, self.context);
            }
            Confirmation::Unknown { after } => {
                hook.ask_at = unix + after.max(1);
                self.connections.reschedule(key);
            }
        }
    }

    fn replace_identity(&mut self, key: ConnectionKey, identity: Identity) {
        let connection = &self.connections[key];
        if identity.sub != connection.identity.sub {
            tracing::info!(
                connection = %connection.id,
                "closing: the browser's cookies now belong to another user"
            );
            let changed = Disconnect::FORBIDDEN.because("user changed");
            return self.connections.close(key, changed, self.context);
        }
        match self.groups_on_connect(key, &identity) {
            Ok(wanted) => self.renew(key, None, identity, wanted),
            Err(error) => {
                tracing::warn!(
                    connection = %connection.id,
                    %error,
                    "closing: the hook's answer makes an illegal group name"
                );
                let illegal = Disconnect::FORBIDDEN.because("a group name is not legal");
                self.connections.close(key, illegal, self.context);
            }
        }
    }
}
