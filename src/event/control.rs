//! Commands of back ends to connections, and the recovery of a group at a join.

use std::sync::Arc;

use super::{ConnectionId, Position, Publication};
use crate::group::GroupName;

/// The connections that a command concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Member {
    /// Every connection of one `sub`.
    User(Arc<str>),
    /// One connection.
    Connection(ConnectionId),
}

/// A command of a back end. It goes to every instance: only the one that holds a connection knows
/// it.
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

/// When a command was accepted: those of one cluster are in this order.
///
/// The default precedes every command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The generation of the layer's data.
    pub generation: u64,
    /// Counts the commands; the first is 1.
    pub number: u64,
}

impl Stamp {
    /// The next of the same generation.
    pub(crate) fn next(self) -> Self {
        Self { number: self.number.saturating_add(1), ..self }
    }

    /// The one before, in the same generation.
    pub(crate) fn previous(self) -> Self {
        Self { number: self.number.saturating_sub(1), ..self }
    }
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
    /// The position asked from, if whoever asked knows the epoch by the name that it had before the
    /// first publication.
    pub known_as: Option<Position>,
}

impl Recovery {
    /// Everything that was missed since a position.
    pub fn complete(position: Position, since: &Position, replay: Vec<Arc<Publication>>) -> Self {
        let known_as = (since.epoch != position.epoch).then(|| since.clone());
        Self { position: Some(position), recovered: Some(true), replay, known_as }
    }

    /// The answer if not everything is kept that was missed.
    pub fn incomplete(position: Position) -> Self {
        Self { position: Some(position), recovered: Some(false), ..Self::default() }
    }

    /// The answer for a group that keeps no history.
    pub fn without_history(since: Option<&Position>) -> Self {
        Self { recovered: since.map(|_| false), ..Self::default() }
    }
}
