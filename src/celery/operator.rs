//! What operators see of Celery's tasks, and what they may do with them.

use serde::Serialize;

use super::start::{CalledTask, OperatorError, QueueLength};
use super::workers::WorkersSnapshot;
use super::{TaskStarter, TaskWatcher};

/// The tasks as this instance knows them. Clones share it.
#[derive(Clone)]
pub(crate) struct TaskOperator {
    watcher: TaskWatcher,
    starter: Option<TaskStarter>,
}

/// What is known of tasks and workers.
#[derive(Debug, Serialize)]
pub(crate) struct TasksReport {
    /// Always true.
    is_configured: bool,
    /// Whether the events of workers are followed; without, nothing is known of them.
    hears_workers: bool,
    /// Whether the broker can be asked and told something.
    has_broker: bool,
    #[serde(flatten)]
    known: WorkersSnapshot,
    queues: Vec<QueueLength>,
    /// The names of tasks that may be done again.
    repeatable: Vec<String>,
}

impl TaskOperator {
    pub(crate) fn new(watcher: TaskWatcher, starter: Option<TaskStarter>) -> Self {
        Self { watcher, starter }
    }

    /// What is known now.
    pub(crate) async fn report(&self) -> TasksReport {
        let known = self.watcher.workers();
        let queues = match &self.starter {
            Some(starter) => starter.queues().await.to_vec(),
            None => Vec::new(),
        };
        TasksReport {
            is_configured: true,
            hears_workers: known.is_some(),
            has_broker: self.starter.is_some(),
            known: known.unwrap_or_default(),
            queues,
            repeatable: self.starter.as_ref().map_or_else(Vec::new, TaskStarter::repeatable),
        }
    }

    /// Tells all workers to revoke a task, and with `terminate` to end what carries it out.
    ///
    /// # Errors
    /// [`OperatorError::NoBroker`], [`OperatorError::Away`].
    pub(crate) async fn revoke(&self, id: &str, terminate: bool) -> Result<(), OperatorError> {
        self.starter()?.revoke(id, terminate).await
    }

    /// Starts a task as another one was.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub(crate) async fn start_again(&self, id: &str) -> Result<CalledTask, OperatorError> {
        self.starter()?.start_again(id).await
    }

    fn starter(&self) -> Result<&TaskStarter, OperatorError> {
        self.starter.as_ref().ok_or(OperatorError::NoBroker)
    }
}
