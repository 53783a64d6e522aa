//! An event that is to wait: where it comes from, and until when it is of use.

use crate::event::Position;
use crate::frame::Frame;

/// The group, in a shard's own numbering, that a frame comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(pub u64);

impl Source {
    /// Frames for a user, a connection or everybody: one more source, counted by itself.
    pub const NONE: Self = Self(u64::MAX);
}

/// Milliseconds on a shard's monotonic clock, since whatever instant it chose; read once a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// An event's frame on its way into the queue.
#[derive(Debug, Clone)]
pub struct QueuedEvent {
    /// The bytes, shared with all other receivers.
    pub frame: Frame,
    /// Not to be written once this has come.
    pub expires: Millis,
    /// Where the event stands in its group's history, for the gap that its loss would be.
    pub position: Option<Position>,
}
