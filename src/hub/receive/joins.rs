//! `join` and `leave` of clients.

use super::refuse::{forbidden, legal};
use crate::event::Position;
use crate::group::GroupName;
use crate::hub::join::Memberships;
use crate::hub::request::Cause;
use crate::hub::store::ConnectionKey;
use crate::identity::Operation;
use crate::protocol::outbound::{self, JoinOutcome};
use crate::protocol::{Code, JoinEntry, Refusal};

pub(super) fn handle_join(
    on: &mut Memberships<'_>,
    key: ConnectionKey,
    id: u64,
    entries: &[JoinEntry<'_>],
) {
    let mut wanted = Vec::with_capacity(entries.len());
    let mut refused = Vec::new();
    let most = on.context.config.connection.groups_per_connection;
    let mut room = most.saturating_sub(on.connections[key].memberships().len());
    for (place, entry) in entries.iter().enumerate() {
        match checked_join(on, key, entry, &mut room) {
            Ok(group) => wanted.push(group),
            Err(refusal) => {
                on.connections.note_refused(key, &entry.group, on.context.clock.second());
                refused.push((place, refused_outcome(entry, refusal)));
            }
        }
    }
    if wanted.is_empty() {
        let refused = refused.into_iter().map(|(_, outcome)| outcome).collect::<Vec<_>>();
        let frame = outbound::joined(Some(id), &refused, None);
        return on.connections.answer(key, frame, on.context);
    }
    on.ask_to_join(key, Cause::Client(id), wanted, refused);
}

fn checked_join(
    on: &Memberships<'_>,
    key: ConnectionKey,
    entry: &JoinEntry<'_>,
    room: &mut usize,
) -> Result<(GroupName, Option<Position>), Refusal> {
    if let Some(fault) = &entry.fault {
        return Err(Refusal::new(Code::BadRequest, fault.clone()));
    }
    let name = legal(&entry.group)?;
    if on.groups.held(on.connections, key, &name).is_some() {
        return Ok((name, None));
    }
    let config = &on.context.config;
    if !config.policy.may(&on.connections[key].identity, Operation::Join, name.as_str()) {
        return Err(forbidden(Operation::Join, name.as_str()));
    }
    let most = config.connection.groups_per_connection;
    *room = room.checked_sub(1).ok_or_else(|| {
        Refusal::new(Code::TooManyGroups, format!("a connection may join at most {most} groups"))
    })?;
    let since = entry
        .since
        .as_ref()
        .map(|(epoch, offset)| Position { epoch: (&**epoch).into(), offset: *offset });
    Ok((name, since))
}

pub(super) fn handle_leave(
    on: &mut Memberships<'_>,
    key: ConnectionKey,
    id: u64,
    entries: &[JoinEntry<'_>],
) {
    let mut outcomes = Vec::with_capacity(entries.len());
    for entry in entries {
        // Positions do not matter here, so an invalid one does not either.
        match legal(&entry.group) {
            Ok(name) => outcomes.append(&mut on.leave(key, &[name])),
            Err(refusal) => outcomes.push(refused_outcome(entry, refusal)),
        }
    }
    on.connections.answer(key, outbound::left(Some(id), &outcomes, None), on.context);
}

fn refused_outcome(entry: &JoinEntry<'_>, refusal: Refusal) -> JoinOutcome {
    JoinOutcome { group: (*entry.group).into(), outcome: Err(refusal) }
}
