//! What clients send: read from sockets, decoded, and carried out or refused.
//!
//! Reading may change whatever a client's frame may, which is what memberships may.

mod auth;
mod call;
mod frames;
mod hang_up;
mod joins;
mod read;
mod refuse;
mod sends;

pub(super) use read::{read, resume_reading};
