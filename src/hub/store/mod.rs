//! What a shard owns, each store with its own invariants and none with a way to the shard.

mod connection;
mod connections;
mod groups;
mod joins;
mod request_queue;
mod turn;

#[cfg(test)]
pub(super) use connection::InFlight;
pub(super) use connection::{Connection, ConnectionPhase, FrameBudget, Renewal};
pub(super) use connections::{ConnectionKey, Connections, Ended};
pub(super) use groups::{GroupKey, GroupMember, Groups};
pub(super) use joins::{Buffered, JoinAnswer, JoinBuffer, Joins, is_newer};
pub(super) use request_queue::{Request, RequestQueue, request_channels};
pub(super) use turn::{FrameChain, Turn};
#[cfg(test)]
pub(super) use turn::{MAX_BYTES, MAX_LINKS, MAX_PUBLICATIONS};
