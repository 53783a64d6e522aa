//! Metrics of requests to the back end.

use std::time::Duration;

use metrics::{Counter, Gauge};

use super::family::{Counters, Label};
use super::histogram::Histogram;
use super::labels::{BackendOutcome, HookSource};
use super::registry::{MetricRegistry, header};

/// The handles of the connect hook and of calls.
#[derive(Debug)]
pub struct BackendMetrics {
    /// Calls in flight.
    pub calls_in_flight: Gauge,
    /// Calls waiting to be sent.
    pub calls_waiting: Gauge,
    /// Hook requests in flight.
    pub hooks_in_flight: Gauge,
    /// Hook requests waiting to be sent.
    pub hooks_waiting: Gauge,
    /// Hook verdicts, by source.
    pub hooks: Counters<HookSource>,
    /// How often the circuit breaker opened.
    pub breaks: Counter,
    /// By outcome, never by name: names of calls come from browsers.
    calls: Latencies,
    hook_answers: Latencies,
}

/// A histogram for each outcome.
type Latencies = [Histogram; BackendOutcome::ALL.len()];

impl BackendMetrics {
    pub(super) fn new(to: &MetricRegistry<'_>) -> Self {
        Self {
            calls_in_flight: to.measure("calls_in_flight", "Calls in flight."),
            calls_waiting: to.measure("calls_waiting", "Calls waiting to be sent."),
            hooks_in_flight: to.measure("hooks_in_flight", "Hook requests in flight."),
            hooks_waiting: to.measure("hooks_waiting", "Hook requests waiting to be sent."),
            hooks: to.counters("hooks_total", "Hook verdicts, by source."),
            breaks: to.count("hook_breaks_total", "How often the circuit breaker opened."),
            calls: Latencies::default(),
            hook_answers: Latencies::default(),
        }
    }

    /// Records a call and its duration.
    pub fn called(&self, outcome: BackendOutcome, elapsed: Duration) {
        self.calls[outcome.index()].record(elapsed);
    }

    /// Records a hook request and its duration.
    pub fn hooked(&self, outcome: BackendOutcome, elapsed: Duration) {
        self.hook_answers[outcome.index()].record(elapsed);
    }

    pub(super) fn render(&self, out: &mut String) {
        let both = [
            ("groupcast_call_seconds", "Duration of calls to the back end.", &self.calls),
            ("groupcast_hook_seconds", "Duration of hook requests.", &self.hook_answers),
        ];
        for (name, description, latencies) in both {
            header(name, description, out);
            for outcome in BackendOutcome::ALL {
                let label = format!("outcome=\"{}\",", outcome.text());
                latencies[outcome.index()].render(name, &label, out);
            }
        }
    }
}
