//! Calls of clients: a question to the back end, granted.

use serde_json::value::RawValue;

use super::refuse::forbidden;
use crate::hub::join::Memberships;
use crate::hub::request::{Call, ReplyFormat};
use crate::hub::store::{ConnectionKey, Request};
use crate::identity::Operation;
use crate::protocol::parse_plain_call;
use crate::telemetry::CallFailure;

/// What is asked.
pub(super) struct RequestedCall {
    pub(super) name: Box<str>,
    pub(super) data: Option<Box<RawValue>>,
    /// Passed on as `Idempotency-Key`.
    pub(super) key: Option<Box<str>>,
}

pub(super) fn handle_plain_call(on: &mut Memberships<'_>, key: ConnectionKey, text: &str) {
    let connection = &on.connections[key];
    let Some(call) = parse_plain_call(text) else {
        on.context.metrics().calls_failed.of(CallFailure::NotACall).increment(1);
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
    let connection = &mut on.connections[key];
    if !on.context.config.policy.may(&connection.identity, Operation::Call, &name) {
        on.context.metrics().calls_failed.of(CallFailure::Forbidden).increment(1);
        tracing::debug!(connection = %connection.id, call = %name, "call refused: no grant");
        if let Some(frame) = reply.refusal(&forbidden(Operation::Call, &name)) {
            on.connections.answer(key, frame, on.context);
        }
        return;
    }
    connection.in_flight.begin();
    let (to, identity) = (connection.id, connection.identity.clone());
    let route = &on.context.config.routes[usize::from(connection.route)];
    let path = route.path_with(connection.parameters.as_deref());
    let shard = on.context.index;
    let call = Call { to, shard, identity, path, reply, name, data, key: dedupe };
    on.requests.request(on.connections, key, Request::Call(Box::new(call)));
}
