//! HTTP/1.1 for `server` and `api`: bounded listeners, static files, problem details.

mod files;
mod guarded_stream;
mod listener;
mod places;
mod problem;

pub(crate) use files::file;
pub use listener::LISTEN_BACKLOG;
pub(crate) use listener::{Listener, ListenerLimits, bind, into_tcp};
pub(crate) use places::Place;
pub(crate) use problem::{MEDIA_TYPE, Problem, ProblemBody, ProblemKind};
