//! Celery: the states of tasks, for the browsers that watch them.
//!
//! Celery's Redis result back end keeps the state of a task under a key, and publishes each change
//! on a channel of the same name. Each instance subscribes the tasks that its own connections
//! watch, and no others: a task that nobody watches costs nothing. Sites with another result back
//! end have the events of their workers, which every instance has to read in full.

mod availability;
mod event_reader;
mod events;
mod feed;
mod kept;
mod metrics;
mod operator;
mod results;
mod sets;
mod settings;
mod start;
mod started;
mod state;
mod tasks;
#[cfg(test)]
mod tests;
mod watcher;
mod worker_event;
mod workers;

pub(crate) use metrics::CeleryMetrics;
pub(crate) use operator::TaskOperator;
pub(crate) use settings::{CelerySettings, WorkerEvents};
pub(crate) use start::{
    ArgumentShape, BrowserTask, JsonKind, MAX_QUEUE, OperatorError, Quotas, RevokeMode, StartError,
    StartSettings, TaskBroker, TaskRequest, TaskStarter, is_python_name,
};
pub(crate) use tasks::TaskUpdate;
#[cfg(test)]
pub(crate) use watcher::StartedWatcher;
pub(crate) use watcher::TaskWatcher;
