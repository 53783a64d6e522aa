//! HTTP/1.1 for `server` and `api` alike: bounded listeners, static files, problem details.

mod files;
mod listener;
mod problem;

pub(crate) use files::file;
pub use listener::LISTEN_BACKLOG;
pub(crate) use listener::{ConnectionSlot, Listener, bind};
pub(crate) use problem::{MEDIA_TYPE, Problem, ProblemBody, ProblemKind};
