//! Requests to the API: how many by route and status, and how long they took.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::Counter;
use parking_lot::RwLock;

use super::histogram::Histogram;

/// By route template. Requests, not deliveries: a read lock each is nothing.
#[derive(Debug, Default)]
pub(super) struct RequestMetrics(RwLock<BTreeMap<Box<str>, RouteLatency>>);

#[derive(Debug, Default)]
struct RouteLatency {
    latency: Histogram,
    /// The few statuses with which it has answered. Registering a counter writes and hashes its
    /// description and labels, so that is done once.
    statuses: Vec<(u16, Counter)>,
}

impl RouteLatency {
    fn counter(&self, status: u16) -> Option<&Counter> {
        self.statuses.iter().find(|(known, _)| *known == status).map(|(_, counter)| counter)
    }
}

impl RequestMetrics {
    /// Counts one request; `register` makes the counter of a route and status seen for the first
    /// time.
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
