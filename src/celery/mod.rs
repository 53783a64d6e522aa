//! Celery: the states of tasks, for the browsers that watch them.
//!
//! Celery's Redis result back end keeps the state of a task under a key, and publishes each change
//! on a channel of the same name. Each instance subscribes the tasks that its own connections
//! watch, and no others: a task that nobody watches costs nothing.

mod metrics;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod watcher;

pub(crate) use metrics::CeleryMetrics;
pub(crate) use settings::CelerySettings;
pub(crate) use watcher::{TaskUpdate, TaskWatcher};
