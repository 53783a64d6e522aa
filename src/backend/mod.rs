//! The back end as a server that is asked: who somebody is (the connect hook), what a call comes to.
//!
//! Every request is signed, bounded in time and size, and never redirected. `docs/backend.md` is the
//! contract.

mod advice;
mod calls;
mod client;
mod settings;
mod sign;
#[cfg(test)]
mod tests;

pub use calls::{CallError, Calls, Question, Reply};
pub use client::{Answer, AskError, Client};
/// Header with the path that the browser connected to.
pub(super) const PATH: &str = "groupcast-path";

pub use settings::{BackendError, MIN_SECRET_LEN, Settings, SigningKey};
