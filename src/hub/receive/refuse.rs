//! Refusals of requests.

use crate::excerpt::excerpt;
use crate::group::GroupName;
use crate::hub::join::Memberships;
use crate::hub::store::ConnectionKey;
use crate::identity::Operation;
use crate::protocol::{Code, Refusal, outbound};

/// Longest name in a refusal, characters.
const EXCERPT: usize = 100;

/// An `error` frame, with the id of what it answers.
pub(super) fn refuse(
    on: &mut Memberships<'_>,
    key: ConnectionKey,
    id: Option<u64>,
    refusal: &Refusal,
) {
    on.connections.answer(key, outbound::error(id, refusal), on.context);
}

pub(super) fn legal(name: &str) -> Result<GroupName, Refusal> {
    GroupName::parse(name).map_err(|error| Refusal::new(Code::IllegalName, error.to_string()))
}

pub(super) fn forbidden(operation: Operation, name: &str) -> Refusal {
    let name = excerpt(name, EXCERPT);
    Refusal::new(Code::Forbidden, format!("no grant to {operation} {name:?}"))
}
