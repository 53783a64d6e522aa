//! Calls of clients: checks the grant and passes them on to the back end.

use serde_json::value::RawValue;

use super::refuse::forbidden;
use crate::hub::join::Memberships;
use crate::hub::metrics::CallFailure;
use crate::hub::request::{Call, ReplyFormat, RequestKind};
use crate::hub::store::{ConnectionKey, Request};
use crate::identity::Operation;
use crate::protocol::{Code, Refusal, parse_plain_call};

/// Calls in flight of one user on one shard. All waiting calls share 1,024 places, so one user with
/// many connections cannot fill them.
const MAX_CALLS_PER_USER: u32 = 32;

/// What is called.
pub(super) struct RequestedCall {
    pub(super) name: Box<str>,
    pub(super) data: Option<Box<RawValue>>,
    /// Passed on as `Idempotency-Key`.
    pub(super) key: Option<Box<str>>,
}

pub(super) fn handle_plain_call(on: &mut Memberships<'_>, key: ConnectionKey, text: &str) {
    let connection = &on.connections[key];
    let Some(call) = parse_plain_call(text) else {
        on.context.by_label.calls_failed.of(CallFailure::NotACall).increment(1);
        tracing::debug!(connection = %connection.id, "plain frame discarded: not a call");
        return;
    };
    let route = &on.context.config.routes[usize::from(connection.route)];
    let reply = ReplyFormat::Plain { errors: route.call_errors };
    let data = Some(call.data.to_owned());
    handle_call(on, key, reply, RequestedCall { name: call.name.into(), data, key: None });
}

pub(super) fn handle_call(
    on: &mut Memberships<'_>,
    key: ConnectionKey,
    reply: ReplyFormat,
    call: RequestedCall,
) {
    let RequestedCall { name, data, key: dedupe } = call;
    if let Err((failure, refusal)) = check_call(on, key, &name) {
        on.context.by_label.calls_failed.of(failure).increment(1);
        tracing::debug!(
            connection = %on.connections[key].id, call = %name, code = refusal.code.as_str(),
            "call refused"
        );
        if let Some(frame) = reply.refusal(&refusal) {
            on.connections.answer(key, frame, on.context);
        }
        return;
    }
    let connection = &mut on.connections[key];
    connection.in_flight.begin(RequestKind::Call);
    let (to, identity) = (connection.id, connection.identity.clone());
    let route = &on.context.config.routes[usize::from(connection.route)];
    let path = route.path_with(connection.parameters.as_deref());
    let shard = on.context.index;
    let call = Call { to, shard, identity, path, reply, name, data, key: dedupe };
    on.requests.request(on.connections, key, Request::Call(Box::new(call)));
}

fn check_call(
    on: &Memberships<'_>,
    key: ConnectionKey,
    name: &str,
) -> Result<(), (CallFailure, Refusal)> {
    let identity = &on.connections[key].identity;
    if !on.context.config.policy.may(identity, Operation::Call, name) {
        return Err((CallFailure::Forbidden, forbidden(Operation::Call, name)));
    }
    if on.connections.calls_of_user(&identity.sub) >= MAX_CALLS_PER_USER {
        let many = format!("a user may have {MAX_CALLS_PER_USER} calls in flight");
        return Err((CallFailure::Limited, Refusal::new(Code::Limited, many)));
    }
    Ok(())
}
