//! `send` of clients: checks the grant and the event, and passes the publication on.

use bytes::Bytes;

use super::refuse::{forbidden, legal, refuse};
use crate::event::Event;
use crate::group::GroupName;
use crate::hub::join::Memberships;
use crate::hub::request::{RequestKind, Send};
use crate::hub::store::{ConnectionKey, Request};
use crate::identity::Operation;
use crate::protocol::{Code, Refusal};

pub(super) fn handle_send(
    on: &mut Memberships<'_>,
    key: ConnectionKey,
    id: u64,
    group: &str,
    data: &str,
    echo: bool,
    dedupe: Option<Box<str>>,
) {
    let (group, event) = match checked_send(on, key, group, data) {
        Ok(checked) => checked,
        Err(refusal) => return refuse(on, key, Some(id), &refusal),
    };
    let connection = &mut on.connections[key];
    connection.in_flight.begin(RequestKind::Send);
    let (to, sub) = (connection.id, connection.identity.sub.clone());
    let shard = on.context.index;
    let send = Send { to, shard, sub, id, group, event, echo, key: dedupe };
    on.requests.request(on.connections, key, Request::Send(Box::new(send)));
}

fn checked_send(
    on: &Memberships<'_>,
    key: ConnectionKey,
    group: &str,
    data: &str,
) -> Result<(GroupName, Event), Refusal> {
    let name = legal(group)?;
    let identity = &on.connections[key].identity;
    if !on.context.config.policy.may(identity, Operation::Send, name.as_str()) {
        return Err(forbidden(Operation::Send, name.as_str()));
    }
    let event = Event::parse(Bytes::copy_from_slice(data.as_bytes()))
        .map_err(|error| Refusal::new(Code::InvalidEvent, error.to_string()))?;
    Ok((name, event))
}
