//! Starts the watcher of Celery's tasks, and what starts tasks for browsers.

use std::future::Future;
use std::pin::Pin;

use crate::celery::{CeleryMetrics, Quotas, TaskStarter, TaskWatcher};
use crate::config::Config;
use crate::coordinator;
use crate::hub::Hub;
use crate::layer::{Layer, LayerError};
use crate::telemetry::Metrics;

/// Something that has to run while the gateway does.
type BoxedTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The watcher, if a source of states is configured, and the starter, if Celery's broker is; what
/// has to run for them is handed to `spawn`.
pub(super) fn start_tasks(
    config: &Config,
    layer: &Layer,
    hub: &Hub,
    metrics: &Metrics,
    mut spawn: impl FnMut(&'static str, BoxedTask),
) -> Result<Option<(TaskWatcher, Option<TaskStarter>)>, LayerError> {
    let (metrics, quotas) = (CeleryMetrics::new(metrics), Quotas::default());
    let started = TaskWatcher::start(&config.celery, metrics.clone(), quotas.clone())?;
    let Some(started) = started else { return Ok(None) };
    spawn("task watcher", started.run);
    let states = coordinator::deliver_task_states(hub.clone(), started.updates);
    spawn("task states", Box::pin(states));
    let (settings, watcher) = (&config.celery.start, started.handle.clone());
    let starter = TaskStarter::start(settings, quotas, watcher, layer, &metrics)?;
    let starter = starter.map(|started| {
        spawn("task queue", started.run);
        started.handle
    });
    if let Some(keeping) = started.handle.keep_tasks(layer) {
        spawn("task record", Box::pin(keeping));
    }
    Ok(Some((started.handle, starter)))
}
