//! Metrics of the states of tasks.

use std::sync::Arc;

use crate::telemetry::{Counter, Counters, Gauge, Metrics, label};

/// What became of a call for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartOutcome {
    /// The broker has the task.
    Accepted,
    /// Its key stands for a task that was started before.
    Repeated,
    /// The task was revoked.
    Revoked,
    /// Arguments, key or owner are not right.
    Refused,
    /// The user has as many tasks as he may.
    Limited,
    /// The broker or the layer does not answer.
    Failed,
}

label!(StartOutcome = "outcome" {
    Accepted = "accepted",
    Repeated = "repeated",
    Revoked = "revoked",
    Refused = "refused",
    Limited = "limited",
    Failed = "failed",
});

/// The handles.
#[derive(Debug, Clone)]
pub(crate) struct CeleryMetrics {
    /// Tasks whose state is watched here.
    pub(super) watched: Gauge,
    /// Whether the source of states answers: 1 or 0.
    pub(super) up: Gauge,
    /// States handed over for delivery.
    pub(super) states: Counter,
    /// States replaced by a newer one before they were handed over.
    pub(super) superseded: Counter,
    /// Values that are no state, and worker events that are none.
    pub(super) malformed: Counter,
    /// Events of workers, whether of watched tasks or not.
    pub(super) events: Counter,
    /// How often the subscription was interrupted, so that events may have been missed.
    pub(super) lost: Counter,
    /// How often the subscription to results fell behind, so that all were read anew.
    pub(super) reread: Counter,
    /// Workers that have sent something lately.
    pub(super) workers: Gauge,
    /// Calls for tasks.
    pub(super) started: Arc<Counters<StartOutcome>>,
}

impl CeleryMetrics {
    /// All of them, at zero.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let to = metrics.registry();
        Self {
            watched: to.measure("celery_watched_tasks", "Tasks whose state is watched here."),
            up: to.measure("celery_up", "Whether the source of states answers."),
            states: to.count("celery_states_total", "States of tasks handed over for delivery."),
            superseded: to.count(
                "celery_superseded_total",
                "States of tasks replaced by a newer one before they were delivered.",
            ),
            malformed: to.count("celery_malformed_total", "Values and events that are no state."),
            events: to.count("celery_events_total", "Events of workers."),
            lost: to.count("celery_events_lost_total", "How often events of workers were missed."),
            reread: to.count(
                "celery_reread_total",
                "How often the states of all watched tasks were read anew: the subscription to \
                 them fell behind or was interrupted.",
            ),
            started: Arc::new(to.counters("celery_calls_total", "Calls of browsers for tasks.")),
            workers: to.measure("celery_workers", "Workers that have sent something lately."),
        }
    }
}
