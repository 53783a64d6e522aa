//! The watcher's handle: who watches which task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::tasks::{Change, TaskUpdate, WatchedTasks};
use super::{CeleryMetrics, CelerySettings, events, results};
use crate::event::ConnectionId;
use crate::group::GroupName;
use crate::layer::LayerError;

/// Changes that may wait. The watcher takes them without waiting for anything.
const CHANGES: usize = 1024;

/// Updates that may wait for a shard; more are merged by task.
const UPDATES: usize = 64;

/// The requests to the watcher. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct TaskWatcher {
    settings: Arc<CelerySettings>,
    changes: mpsc::Sender<Change>,
}

/// A watcher that was started.
pub(crate) struct StartedWatcher {
    /// For requests to it.
    pub(crate) handle: TaskWatcher,
    /// What it finds.
    pub(crate) updates: mpsc::Receiver<TaskUpdate>,
    /// The watcher itself, to be spawned.
    pub(crate) run: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl TaskWatcher {
    /// Starts watching; `None` where no source of states is configured. The result back end has
    /// every state and keeps the last, so worker events are followed only without one. Must be
    /// called within a runtime.
    ///
    /// # Errors
    /// [`LayerError::Url`].
    pub(crate) fn start(
        settings: &CelerySettings,
        metrics: CeleryMetrics,
    ) -> Result<Option<StartedWatcher>, LayerError> {
        let settings = Arc::new(settings.clone());
        let (sender, changes) = mpsc::channel(CHANGES);
        let (update_sender, updates) = mpsc::channel(UPDATES);
        let tasks = WatchedTasks::new(Arc::clone(&settings), metrics);
        let run: Pin<Box<dyn Future<Output = ()> + Send>> = if let Some(redis) = &settings.results {
            Box::pin(results::watch(redis, tasks, changes, update_sender)?)
        } else if let Some(source) = &settings.events {
            Box::pin(events::follow(source, tasks, changes, update_sender)?)
        } else {
            return Ok(None);
        };
        let handle = Self { settings, changes: sender };
        Ok(Some(StartedWatcher { handle, updates, run }))
    }

    /// Whether this is the group of a task.
    pub(crate) fn is_task(&self, group: &GroupName) -> bool {
        self.settings.task_of(group).is_some()
    }

    /// This connection has joined the group of a task, and gets its state.
    pub(crate) async fn joined(&self, group: GroupName, shard: usize, to: ConnectionId) {
        // Without the watcher the process ends.
        let _ = self.changes.send(Change::Joined { group, shard, to }).await;
    }

    /// These groups, of tasks or not, have no members any more.
    pub(crate) async fn idle(&self, groups: &[GroupName]) {
        let groups: Vec<_> = groups.iter().filter(|group| self.is_task(group)).cloned().collect();
        if !groups.is_empty() {
            let _ = self.changes.send(Change::Idle(groups)).await;
        }
    }
}
