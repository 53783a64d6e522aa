//! Events, the publications that carry them, their targets and their positions in a history.

mod check;
mod collapse;
mod control;
mod ids;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

pub(crate) use check::EventError;
pub(crate) use collapse::CollapseKey;
pub use control::{Control, Member, PossibleLoss, Recovery, Stamp};
pub(crate) use ids::{ConnectionId, IdError, InstanceId, PublicationId};

use crate::group::GroupName;

/// A checked event: one JSON object with a string `type`, kept byte for byte as it came.
///
/// Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    json: Bytes,
    kind: Arc<str>,
}

impl Event {
    /// Checks `json` (UTF-8, one object, a string `type`, no key twice in an object, depth at most
    /// [`Event::MAX_DEPTH`]) and keeps it verbatim, without the white space around it.
    pub fn parse(json: Bytes) -> Result<Self, EventError> {
        let (object, kind) = check::check(&json)?;
        Ok(Self { json: json.slice(object), kind })
    }

    /// Deepest nesting of arrays and objects that an event may have.
    pub const MAX_DEPTH: usize = check::MAX_DEPTH;

    /// Longest `type`, bytes.
    pub const MAX_KIND: usize = check::MAX_KIND;

    /// The event's JSON text, as the sender wrote it, without surrounding white space.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The event's `type`.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

/// A place in a group's history. Only groups with history have positions.
///
/// Where nothing was ever published there is no numbering to name: the epoch is
/// `<generation>.0.<second>` then, the second at which the layer was asked, and the offset 0. So a
/// group that was only joined costs no memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// `<generation>.<group epoch>`: offsets compare only within one epoch.
    pub epoch: Arc<str>,
    /// Counts the group's publications in this epoch from 1; 0 = none yet.
    pub offset: u64,
}

impl Position {
    /// Whether a reader at `other` needs nothing at this position: it is no later in the same
    /// epoch, of an older generation, or the one before any publication of the same generation.
    ///
    /// Group epochs of one generation are in no order.
    pub fn is_covered_by(&self, other: &Self) -> bool {
        if self.epoch == other.epoch {
            return self.offset <= other.offset;
        }
        match self.generation().zip(other.generation()) {
            Some((own, other)) => own < other || own == other && self.precedes_all(),
            None => false,
        }
    }

    /// Whether publication 1 of the epoch of `other` is the first after this position.
    pub fn is_before_first_of(&self, other: &Self) -> bool {
        self.precedes_all() && !other.precedes_all() && self.generation() == other.generation()
    }

    /// Whether this is a position before any publication of its generation.
    fn precedes_all(&self) -> bool {
        let group_epoch = self.epoch.split_once('.').map(|(_, rest)| rest);
        self.offset == 0 && group_epoch.is_some_and(|epoch| epoch.starts_with("0."))
    }

    /// The generation of Redis' data; `None` = it names none.
    pub fn generation(&self) -> Option<u64> {
        self.epoch.split_once('.')?.0.parse().ok()
    }
}

/// The receivers of a publication.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Every member of a group.
    Group(GroupName),
    /// Every connection of one `sub`.
    User(Arc<str>),
    /// One connection.
    Connection(ConnectionId),
    /// Every connection of every instance.
    All,
}

/// The kind of a [`Target`], by which publications are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// The members of a group.
    Group,
    /// The connections of one user.
    User,
    /// One connection.
    Connection,
    /// Every connection.
    All,
}

impl Target {
    /// Its kind.
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Group(_) => TargetKind::Group,
            Self::User(_) => TargetKind::User,
            Self::Connection(_) => TargetKind::Connection,
            Self::All => TargetKind::All,
        }
    }
}

/// Connections and users that are excluded from a publication, although the target has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Except {
    /// Connections left out.
    pub connections: Vec<ConnectionId>,
    /// Users (`sub`) left out, with all their connections.
    pub users: Vec<Arc<str>>,
    /// The `sub` of `connections`, where the publisher knows it. When such a client returns on
    /// another connection, only this user may claim to be the one left out.
    pub owner: Option<Arc<str>>,
}

impl Except {
    /// Whether no connection is excluded: the usual case, checked once per publication.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.users.is_empty()
    }

    /// Whether the connection `id` of user `sub` is excluded.
    pub fn holds(&self, id: ConnectionId, sub: &str) -> bool {
        self.connections.contains(&id) || self.users.iter().any(|user| **user == *sub)
    }

    /// Whether a connection that `sub` claims to have had before is excluded.
    pub fn holds_previous(&self, previous: ConnectionId, sub: &str) -> bool {
        self.connections.contains(&previous)
            && self.owner.as_ref().is_none_or(|owner| **owner == *sub)
    }
}

/// An event on its way to a target.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Unique over all instances; what a client without history deduplicates by.
    pub id: PublicationId,
    /// Its receivers.
    pub target: Target,
    /// Its content.
    pub event: Event,
    /// Receivers that are excluded.
    pub except: Except,
    /// When a gateway accepted it, on this instance's monotonic clock: an age that travelled
    /// between instances has been subtracted, a sender's wall clock never enters.
    pub accepted: Instant,
    /// Not to be delivered after this; `None` = the expiry of the receiving group's limits alone.
    pub deadline: Option<Instant>,
    /// Its position in the group's history, if the group keeps one.
    pub position: Option<Position>,
}
