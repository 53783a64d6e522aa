//! What is counted of requests to the back end.

use std::time::Duration;

use metrics::{Counter, Gauge};

use super::family::{Counters, Label};
use super::histogram::Histogram;
use super::labels::{BackendOutcome, HookSource};
use super::registry::{MetricRegistry, header};

/// The handles of the connect hook and of calls.
#[derive(Debug)]
pub struct BackendMetrics {
    /// Calls that the back end is busy with.
    pub calls_in_flight: Gauge,
    /// Calls that wait for their turn.
    pub calls_waiting: Gauge,
    /// Connect hooks that the back end is busy with.
    pub hooks_in_flight: Gauge,
    /// Connections that wait for theirs.
    pub hooks_waiting: Gauge,
    /// Where the words on connections came from.
    pub hooks: Counters<HookSource>,
    /// Times that the back end was given a rest after failing again and again.
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
            calls_in_flight: to.measure("calls_in_flight", "Calls the back end is busy with."),
            calls_waiting: to.measure("calls_waiting", "Calls that wait for their turn."),
            hooks_in_flight: to.measure("hooks_in_flight", "Hooks the back end is busy with."),
            hooks_waiting: to.measure("hooks_waiting", "Connections that wait for their hook."),
            hooks: to.counters("hooks_total", "Words on connections by where they came from."),
            breaks: to.count("hook_breaks_total", "Rests given to a back end that failed."),
            calls: Latencies::default(),
            hook_answers: Latencies::default(),
        }
    }

    /// Counts a call that took so long.
    pub fn called(&self, outcome: BackendOutcome, elapsed: Duration) {
        self.calls[outcome.index()].record(elapsed);
    }

    /// Counts a hook that took so long.
    pub fn hooked(&self, outcome: BackendOutcome, elapsed: Duration) {
        self.hook_answers[outcome.index()].record(elapsed);
    }

    pub(super) fn render(&self, out: &mut String) {
        let both = [
            ("groupcast_call_seconds", "Time of the back end for a call.", &self.calls),
            ("groupcast_hook_seconds", "Time of the back end for a hook.", &self.hook_answers),
        ];
        for (name, words, latencies) in both {
            header(name, words, out);
            for outcome in BackendOutcome::ALL {
                let label = format!("outcome=\"{}\",", outcome.text());
                latencies[outcome.index()].render(name, &label, out);
            }
        }
    }
}
