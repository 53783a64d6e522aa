//! `auth` of clients: a new token for an open connection, verified on the shard.

use super::refuse::refuse;
use crate::hub::join::Memberships;
use crate::hub::store::{ConnectionKey, Renewal};
use crate::protocol::{Code, Disconnect, Refusal};

/// A failed renewal is answered and changes nothing: the old token stays valid until it expires.
pub(super) fn handle_auth(on: &mut Memberships<'_>, key: ConnectionKey, id: u64, token: &str) {
    let connection = &on.connections[key];
    if let Renewal::Hook(_) = connection.renewal {
        let message = "the back end authenticated this connection; it uses no token";
        return refuse(on, key, Some(id), &Refusal::new(Code::Unauthorized, message));
    }
    let renewed = match on.context.config.verifier.verify(token, on.context.clock.unix()) {
        Ok(identity) => identity,
        Err(refusal) => {
            on.context.by_label.auth_failures.of(refusal.failure()).increment(1);
            tracing::info!(connection = %connection.id, cause = refusal.cause(), "renewal refused");
            let message = "token not accepted; the current one stays valid until it expires";
            return refuse(on, key, Some(id), &Refusal::new(Code::Unauthorized, message));
        }
    };
    if renewed.sub != connection.identity.sub {
        tracing::info!(connection = %connection.id, "closing: the new token has another sub");
        let other = Disconnect::FORBIDDEN.because("the token belongs to another user");
        return on.connections.close(key, other, on.context);
    }
    match on.groups_on_connect(key, &renewed) {
        Ok(wanted) => on.renew(key, Some(id), renewed, wanted),
        Err(error) => {
            tracing::info!(
                connection = %connection.id,
                %error,
                "renewal refused: illegal group name"
            );
            let message = "the token makes an illegal group name";
            refuse(on, key, Some(id), &Refusal::new(Code::IllegalName, message));
        }
    }
}
