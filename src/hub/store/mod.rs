//! The stores of a shard, each with its own invariants and without access to the shard.

mod connection;
mod connections;
mod groups;
mod joins;
mod keys;
mod losses;
mod rates;
mod request_queue;
mod taps;
mod turn;

#[cfg(test)]
pub(super) use connection::InFlight;
pub(super) use connection::{Connection, ConnectionPhase, FrameBudget, Renewal};
pub(super) use connections::{Connections, Ended};
pub(super) use groups::{Group, GroupMember, Groups};
pub(super) use joins::{Buffered, JoinAnswer, JoinBuffer, Joins, is_newer};
pub(super) use keys::{ConnectionKey, GroupKey};
pub(super) use losses::RecentLoss;
pub(super) use rates::CountedGroup;
pub(super) use request_queue::{Request, RequestQueue, request_channels};
pub(super) use turn::{FrameChain, Turn};
#[cfg(test)]
pub(super) use turn::{MAX_BYTES, MAX_LINKS, MAX_PUBLICATIONS};
