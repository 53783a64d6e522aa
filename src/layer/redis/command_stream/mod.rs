//! The stream of commands: what a back end was answered 202 for is in it, so that an instance that
//! did not receive a command reads it there.
//!
//! An event may be lost, if that is told; a command may not: a user who was closed must not go on
//! reading.

mod again;
mod applied;
mod recent;
mod replay;
mod stream;

pub(super) use again::append_again;
pub(super) use replay::{CommandReplay, InboxClosed};
pub(super) use stream::CommandStream;
