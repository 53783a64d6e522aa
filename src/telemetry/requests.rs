//! Metrics of API requests: number by route and status, and duration.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::Counter;
use parking_lot::RwLock;

use super::histogram::Histogram;

/// By route template. A read lock per request is cheap.
#[derive(Debug, Default)]
pub(super) struct RequestMetrics(RwLock<BTreeMap<Box<str>, RouteLatency>>);

#[derive(Debug, Default)]
struct RouteLatency {
    latency: Histogram,
    /// The statuses it has answered. Registering a counter is expensive, so it is done once.
    statuses: Vec<(u16, Counter)>,
}

impl RouteLatency {
    fn counter(&self, status: u16) -> Option<&Counter> {
        self.statuses.iter().find(|(known, _)| *known == status).map(|(_, counter)| counter)
    }
}

impl RequestMetrics {
    /// Counts one request. `register` creates the counter of a new route and status.
    pub(super) fn count(
        &self,
        route: &str,
        status: u16,
        elapsed: Duration,
        register: impl FnOnce() -> Counter,
    ) {
        let routes = self.0.read();
        if let Some(known) = routes.get(route)
            && let Some(counter) = known.counter(status)
        {
            counter.increment(1);
            known.latency.record(elapsed);
            return;
        }
        drop(routes);
        let counter = register();
        counter.increment(1);
        let mut routes = self.0.write();
        let known = routes.entry(route.into()).or_default();
        known.latency.record(elapsed);
        if known.counter(status).is_none() {
            known.statuses.push((status, counter));
        }
    }

    /// Appends the exposition of the latencies; the counters are the recorder's.
    pub(super) fn render(&self, name: &str, out: &mut String) {
        let routes = self.0.read();
        for (route, known) in routes.iter() {
            known.latency.render(name, &format!("route=\"{route}\","), out);
        }
    }
}
