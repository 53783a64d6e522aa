//! The console over HTTP: its data, for keys with the right, and its page.

mod data;
mod files;
mod guesses;
mod operator;
mod query;
mod sources;
mod stream;
mod tasks;
mod why;

pub(super) use data::{
    __path_connections, __path_groups, __path_log, __path_snapshot, __path_tap, connections,
    groups, log, snapshot, tap,
};
pub(super) use files::page;
pub(crate) use guesses::GuessLimit;
pub(super) use sources::{__path_sources, sources};
pub(super) use stream::{__path_stream, stream};
pub(super) use tasks::{__path_tasks, tasks};
pub(super) use why::{__path_why, why};
