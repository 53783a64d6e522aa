//! Metrics of requests to the back end.

use std::time::Duration;

use crate::telemetry::{Counter, Counters, Gauge, Histograms, Metrics, label};

/// The outcome of a request to the back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackendOutcome {
    /// Carried out, or the user was identified.
    Accepted,
    /// It refused (4xx).
    Refused,
    /// It failed (5xx), or its answer was invalid.
    Failed,
    /// It did not answer in time.
    Timeout,
    /// It cannot be reached.
    Unreachable,
}

/// The source of a hook verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookSource {
    /// The back end was asked.
    Asked,
    /// A request for another connection was in flight.
    Shared,
    /// Cached by this instance.
    Cached,
    /// Cached by another instance.
    Recalled,
    /// Not asked: too many requests wait, or the circuit breaker is open.
    Nowhere,
}

label!(BackendOutcome = "outcome" {
    Accepted = "accepted",
    Refused = "refused",
    Failed = "failed",
    Timeout = "timeout",
    Unreachable = "unreachable",
});

label!(HookSource = "source" {
    Asked = "asked",
    Shared = "shared",
    Cached = "cached",
    Recalled = "recalled",
    Nowhere = "nowhere",
});

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
    calls: Histograms<BackendOutcome>,
    hook_answers: Histograms<BackendOutcome>,
}

impl BackendMetrics {
    /// All of them, at zero.
    pub fn new(metrics: &Metrics) -> Self {
        let to = metrics.registry();
        Self {
            calls_in_flight: to.measure("calls_in_flight", "Calls in flight."),
            calls_waiting: to.measure("calls_waiting", "Calls waiting to be sent."),
            hooks_in_flight: to.measure("hooks_in_flight", "Hook requests in flight."),
            hooks_waiting: to.measure("hooks_waiting", "Hook requests waiting to be sent."),
            hooks: to.counters("hooks_total", "Hook verdicts, by source."),
            breaks: to.count("hook_breaks_total", "How often the circuit breaker opened."),
            calls: to.histograms("call_seconds", "Duration of calls to the back end."),
            hook_answers: to.histograms("hook_seconds", "Duration of hook requests."),
        }
    }

    /// Records a call and its duration.
    pub fn called(&self, outcome: BackendOutcome, elapsed: Duration) {
        self.calls.of(outcome).record(elapsed);
    }

    /// Records a hook request and its duration.
    pub fn hooked(&self, outcome: BackendOutcome, elapsed: Duration) {
        self.hook_answers.of(outcome).record(elapsed);
    }
}
