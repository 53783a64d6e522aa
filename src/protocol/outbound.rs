//! What the gateway says in `groupcast.v1.json`: each function gives one finished frame.

use crate::event::{ConnectionId, Position, Publication};
use crate::frame::Frame;
use crate::group::GroupName;

/// How one group of a join or leave ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The group, as the client wrote it: a refused name need not be legal.
    pub group: Box<str>,
    /// Held (or left), or refused.
    pub outcome: Result<Held, Refusal>,
}

/// A group that is held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The group's position at the join, if it keeps history.
    pub position: Option<Position>,
    /// Whether everything since the client's position follows; `None` if it gave none.
    pub recovered: Option<bool>,
}

/// Why something asked for is not done; the body of every `error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs: one of the codes in `docs/protocol.md`.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retry: bool,
}

/// What `welcome` says.
#[derive(Debug)]
pub struct Welcome<'a> {
    /// This connection's id.
    pub connection: ConnectionId,
    /// Milliseconds between the gateway's pings.
    pub ping_ms: u64,
    /// Largest frame that the client may send, bytes.
    pub max_bytes: usize,
    /// Seconds until the token runs out.
    pub expires_in: Option<u64>,
    /// The window in which to come back after a loss of the connection, milliseconds.
    pub retry_ms: u64,
    /// The groups joined by the server.
    pub groups: &'a [Standing],
}

/// Why publications of a group were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The connection reads too slowly.
    Slow,
    /// They grew too old while waiting.
    Expired,
    /// The layer lost them.
    Layer,
    /// The history does not reach back far enough.
    History,
}

/// A place where publications of a group were missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// How many, if known.
    pub lost: Option<u64>,
    /// First and last missed offset, inclusive, with their epoch, where the group has positions.
    pub range: Option<(Position, u64)>,
    /// Only feared, not known.
    pub possible: bool,
}

/// `event`, for a group's members; `group` is `None` for the other targets.
pub fn event(_group: Option<&GroupName>, publication: &Publication) -> Frame {
    Frame::text(publication.event.json())
}
