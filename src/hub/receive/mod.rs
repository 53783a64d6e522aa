//! Reads from sockets, decodes frames, and handles or refuses them.
//!
//! Frames of clients may change all that memberships may.

mod auth;
mod call;
mod frames;
mod hang_up;
mod joins;
mod read;
mod refuse;
mod sends;

pub(super) use read::{read, resume_reading};
