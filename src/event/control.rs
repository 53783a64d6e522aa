//! What back ends ask of connections, and where a group stands when somebody joins it.

use std::sync::Arc;

use super::{ConnectionId, Position, Publication};
use crate::group::GroupName;

/// Whom a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// Every connection of one `sub`.
    User(Arc<str>),
    /// One connection.
    Connection(ConnectionId),
}

/// A change that a back end asked for; goes to every instance, since only the one that holds a
/// connection knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Make a member.
    Join(Member, GroupName),
    /// End a membership.
    Leave(Member, GroupName),
    /// Close connections with this code, one of `protocol::Disconnect`.
    Close(Member, u16),
    /// Close the connections of this `sub` that have this session, with this code.
    CloseSession(Arc<str>, Arc<str>, u16),
}

/// Where a group stands when somebody joins it, and what the joiner missed.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// The newest position; `None` = the group keeps no history.
    pub position: Option<Position>,
    /// Whether `replay` is everything since the position asked from; `None` if none was.
    pub recovered: Option<bool>,
    /// What was missed, oldest first.
    pub replay: Vec<Arc<Publication>>,
}

impl Recovery {
    /// The answer for a group that keeps no history.
    pub fn without_history(since: Option<&Position>) -> Self {
        Self { recovered: since.map(|_| false), ..Self::default() }
    }
}
