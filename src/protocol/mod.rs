//! The client protocols: the frames of both, and the reasons for closing.
//!
//! `docs/protocol.md` is the specification. This room converts text into values and values into
//! [`Frame`]s; it makes no decisions.
//!
//! [`Frame`]: crate::frame::Frame

mod disconnect;
mod entries;
mod inbound;
mod json;
pub mod outbound;
mod refusal;
mod shape;
#[cfg(test)]
mod tests;

pub use disconnect::{Disconnect, MAX_REASON};
pub use entries::{JoinEntry, MAX_GROUPS};
pub use inbound::{ClientFrame, FrameError, MAX_ID, PlainCall, parse, parse_plain_call};
pub use refusal::{Code, Refusal};
pub use shape::{EventShape, Shape, ShapeError};

/// The subprotocol that a browser offers to speak v1.
pub const V1: &str = "groupcast.v1.json";

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `groupcast.v1.json`.
    V1,
    /// Bare events, shaped by the route with this index.
    Plain(u16),
}
