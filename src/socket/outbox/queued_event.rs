//! An event to be queued: its source, its expiry, its position.

use crate::event::{CollapseKey, Position};
use crate::frame::Frame;

/// The group of a frame, in the shard's own numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Source(pub u64);

impl Source {
    /// Frames for a user, a connection or all: a further source, counted separately.
    pub(crate) const NONE: Self = Self(u64::MAX);
}

/// Milliseconds on a shard's monotonic clock, read once per turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Millis(pub u64);

/// An event's frame, to be queued.
#[derive(Debug, Clone)]
pub(crate) struct QueuedEvent {
    /// The bytes, shared with all other receivers.
    pub frame: Frame,
    /// When it expires.
    pub expires: Millis,
    /// The event's position in its group's history, for the gap if it is lost.
    pub position: Option<Position>,
    /// For [`Overflow::Latest`](crate::socket::Overflow::Latest): a queued event with the same key
    /// gives way to it.
    pub collapse: Option<CollapseKey>,
}
