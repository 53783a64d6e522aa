//! The watcher's handle: who watches which task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::start::Quotas;
use super::tasks::{Change, TaskUpdate, WatchedTasks};
use super::workers::{WorkerRecord, WorkersSnapshot};
use super::{CeleryMetrics, CelerySettings, events, kept, results};
use crate::event::ConnectionId;
use crate::group::GroupName;
use crate::layer::{Layer, LayerError};

/// Changes that may wait. The watcher takes them without waiting for anything.
const CHANGES: usize = 1024;

/// Updates that may wait for a shard; more are merged by task.
const UPDATES: usize = 64;

/// The requests to the watcher. Clones share it.
#[derive(Clone)]
pub(crate) struct TaskWatcher {
    settings: Arc<CelerySettings>,
    changes: mpsc::Sender<Change>,
    record: WorkerRecord,
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
    /// every state and keeps the last, so beside one worker events only keep the record of workers.
    /// Must be called within a runtime.
    ///
    /// # Errors
    /// [`LayerError::Url`].
    pub(crate) fn start(
        settings: &CelerySettings,
        metrics: CeleryMetrics,
        quotas: Quotas,
    ) -> Result<Option<StartedWatcher>, LayerError> {
        let settings = Arc::new(settings.clone());
        let (sender, changes) = mpsc::channel(CHANGES);
        let (update_sender, updates) = mpsc::channel(UPDATES);
        let record = WorkerRecord::new(metrics.workers.clone());
        let tasks = WatchedTasks::new(Arc::clone(&settings), metrics.clone(), quotas);
        let run: Pin<Box<dyn Future<Output = ()> + Send>> =
            match (&settings.results, &settings.events) {
                (Some(redis), Some(source)) => {
                    let watching = results::watch(redis, tasks, changes, update_sender)?;
                    let observing = events::observe(source, record.clone(), metrics)?;
                    // Whichever ends, the process does.
                    Box::pin(async { tokio::select!(() = watching => {}, () = observing => {}) })
                }
                (Some(redis), None) => {
                    Box::pin(results::watch(redis, tasks, changes, update_sender)?)
                }
                (None, Some(source)) => {
                    let record = record.clone();
                    Box::pin(events::follow(source, record, tasks, changes, update_sender)?)
                }
                (None, None) => return Ok(None),
            };
        let handle = Self { settings, changes: sender, record };
        Ok(Some(StartedWatcher { handle, updates, run }))
    }

    /// What the events of workers have told; nothing where they are not followed.
    pub(crate) fn workers(&self) -> Option<WorkersSnapshot> {
        self.settings.events.is_some().then(|| self.record.snapshot())
    }

    /// Keeps the newest tasks over restarts, as far as the layer outlives this process. `None` =
    /// there is nothing to keep, or nowhere.
    pub(crate) fn keep_tasks(&self, layer: &Layer) -> Option<impl Future<Output = ()> + use<>> {
        let Layer::Redis(redis) = layer else { return None };
        self.settings.events.is_some().then(|| kept::keep(self.record.clone(), redis.clone()))
    }

    /// Whether this is the group of a task.
    pub(crate) fn is_task(&self, group: &GroupName) -> bool {
        self.settings.task_of(group).is_some()
    }

    /// The group of a task.
    pub(crate) fn group_of(&self, task: &str) -> Option<GroupName> {
        self.settings.group_of(task)
    }

    /// This task is about to be started for a browser. It is watched until it ends, by members or
    /// not, since it counts until then.
    pub(crate) async fn started(&self, task: &str) {
        let _ = self.changes.send(Change::Started(task.to_owned())).await;
    }

    /// It was not started.
    pub(crate) async fn not_started(&self, task: &str) {
        let _ = self.changes.send(Change::NotStarted(task.to_owned())).await;
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
