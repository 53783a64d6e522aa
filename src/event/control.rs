//! Changes that back ends request for connections, and the recovery of a group at a join.

use std::sync::Arc;

use super::{ConnectionId, Position, Publication};
use crate::group::GroupName;

/// The connections that a change concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// Every connection of one `sub`.
    User(Arc<str>),
    /// One connection.
    Connection(ConnectionId),
}

/// A change that a back end asked for. It goes to every instance: only the one that holds a
/// connection knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Adds a member.
    Join(Member, GroupName),
    /// Ends a membership.
    Leave(Member, GroupName),
    /// Closes connections with this code, one of `protocol::Disconnect`.
    Close(Member, u16),
    /// Closes the connections of this `sub` that have this session, with this code.
    CloseSession(Arc<str>, Arc<str>, u16),
}

/// Publications that may have been lost before they reached the layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PossibleLoss {
    /// Those of these groups.
    Groups(Vec<GroupName>),
    /// Those of all groups in one share of the names; see [`GroupName::share`].
    Share {
        /// Its number, from 0 and below `of`.
        number: u16,
        /// How many shares there are.
        of: u16,
    },
}

impl PossibleLoss {
    /// Those of all groups.
    pub const ALL: Self = Self::Share { number: 0, of: 1 };
}

/// The position of a group at a join, and the publications missed before it.
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
