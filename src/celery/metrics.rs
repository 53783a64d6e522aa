//! Metrics of the states of tasks.

use crate::telemetry::{Counter, Gauge, Metrics};

/// The handles.
#[derive(Debug)]
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
        }
    }
}
