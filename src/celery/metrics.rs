//! Metrics of the states of tasks.

use crate::telemetry::{Counter, Gauge, Metrics};

/// The handles.
#[derive(Debug)]
pub(crate) struct CeleryMetrics {
    /// Tasks whose state is watched here.
    pub(super) watched: Gauge,
    /// Whether the result back end answers: 1 or 0.
    pub(super) up: Gauge,
    /// States handed over for delivery.
    pub(super) states: Counter,
    /// States replaced by a newer one before they were handed over.
    pub(super) superseded: Counter,
    /// Values that are no state.
    pub(super) malformed: Counter,
}

impl CeleryMetrics {
    /// All of them, at zero.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let to = metrics.registry();
        Self {
            watched: to.measure("celery_watched_tasks", "Tasks whose state is watched here."),
            up: to.measure("celery_results_up", "Whether Celery's result back end answers."),
            states: to.count("celery_states_total", "States of tasks handed over for delivery."),
            superseded: to.count(
                "celery_superseded_total",
                "States of tasks replaced by a newer one before they were delivered.",
            ),
            malformed: to.count("celery_malformed_total", "Values that are no state of a task."),
        }
    }
}
