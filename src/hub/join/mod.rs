//! Memberships: requests to join, the layer's answers, leaves.

mod answer;
mod confirm;
mod control;
mod leave;
mod renew;
mod request;

use super::context::Context;
use super::deliver::Delivery;
use super::store::{Connections, Groups, Joins, RequestQueue, Turn};

pub(super) use confirm::ask_to_confirm;

/// All stores that a change of memberships touches: those of a delivery, and the requests.
pub(super) struct Memberships<'a> {
    pub(super) context: &'a Context,
    pub(super) connections: &'a mut Connections,
    pub(super) groups: &'a mut Groups,
    pub(super) joins: &'a mut Joins,
    pub(super) turn: &'a mut Turn,
    pub(super) requests: &'a mut RequestQueue,
}

impl Memberships<'_> {
    pub(super) fn delivery(&mut self) -> Delivery<'_> {
        Delivery {
            context: self.context,
            connections: self.connections,
            groups: self.groups,
            joins: self.joins,
            turn: self.turn,
        }
    }
}
