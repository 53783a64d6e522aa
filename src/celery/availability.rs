//! Whether the source of states answers: a metric, and a line in the log when it changes.

use std::fmt::Display;

use crate::telemetry::Gauge;

/// The answers of one source.
pub(super) struct Availability {
    source: &'static str,
    gauge: Gauge,
    /// `None` = not asked yet.
    is_up: Option<bool>,
}

impl Availability {
    /// Of a source that is called so in the log, as "celery's result back end".
    pub(super) fn new(source: &'static str, gauge: Gauge) -> Self {
        Self { source, gauge, is_up: None }
    }

    /// It has answered, or failed for this reason.
    pub(super) fn note(&mut self, failure: Option<&dyn Display>) {
        let is_up = failure.is_none();
        if self.is_up.replace(is_up) == Some(is_up) {
            return;
        }
        self.gauge.set(if is_up { 1.0 } else { 0.0 });
        let source = self.source;
        match failure {
            Some(error) => tracing::warn!(%error, "{source} does not answer"),
            None => tracing::info!("{source} answers"),
        }
    }
}
