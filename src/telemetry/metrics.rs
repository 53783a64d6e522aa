//! Every metric of the gateway, described once.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::backend::BackendMetrics;
use super::channels::ChannelsMetrics;
use super::family::{Counters, Gauges};
use super::histogram::Histogram;
use super::labels::{AuthFailure, CallFailure, DropReason, Protocol, RefusalReason};
use super::registry::{MetricRegistry, header};
use super::requests::RequestMetrics;
use crate::event::TargetKind;

/// The close codes that are told apart; any other is counted as `other`.
const CLOSE_CODES: [u16; 18] = [
    1000, 1001, 1002, 1005, 1006, 1007, 1009, 1012, 4400, 4401, 4403, 4409, 4413, 4500, 4503, 4504,
    4508, 4529,
];

/// The handles of one gateway. Rooms share it in an `Arc` and count on its fields.
pub struct Metrics {
    /// Open WebSockets.
    pub connections: Gauges<Protocol>,
    /// Groups with at least one connection here.
    pub groups: Gauge,
    /// Bytes waiting in all outboxes.
    pub outbox_bytes: Gauge,
    /// Requests of connections (joins, sends, calls) that wait to be served.
    pub requests_waiting: Gauge,
    /// Publications that arrived at the hub.
    pub publications: Counters<TargetKind>,
    /// Publications handed to sockets, one for each connection.
    pub deliveries: Counter,
    /// Publications that did not reach a connection.
    pub dropped: Counters<DropReason>,
    /// Groups in which a connection was told of a gap.
    pub gaps: Counter,
    /// Calls that came to nothing.
    pub calls_failed: Counters<CallFailure>,
    /// Memberships begun.
    pub joins: Counter,
    /// Write calls on sockets.
    pub writes: Counter,
    /// Bytes written to sockets.
    pub bytes_written: Counter,
    /// From the acceptance of a publication to its write.
    pub publish_to_write: Histogram,
    /// Tokens, keys and origins that were not accepted.
    pub auth_failures: Counters<AuthFailure>,
    /// Connections turned away at the front door.
    pub refusals: Counters<RefusalReason>,
    /// What the layer counts.
    pub layer: LayerMetrics,
    /// What is counted of the back end.
    pub backend: BackendMetrics,
    /// What the bridge counts.
    pub channels: Arc<ChannelsMetrics>,
    closes: [Counter; CLOSE_CODES.len()],
    closes_other: Counter,
    requests: RequestMetrics,
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

/// The handles of the channel layer.
#[derive(Debug, Clone)]
pub struct LayerMetrics {
    /// 1 while publications come back from the layer.
    pub delivering: Gauge,
    /// Between the sending of the newest probe and its return.
    pub probe_seconds: Gauge,
    /// Counts the Redis servers, and the data sets, that the cluster has seen.
    pub generation: Gauge,
    /// Other instances that deliver.
    pub peers: Gauge,
    /// Messages that arrived and found no room.
    pub lost: Counter,
    /// Times that the subscription was lost, each a gap in every group.
    pub resubscribed: Counter,
    /// Messages that are neither an envelope nor an event.
    pub unreadable: Counter,
}

/// The handles of one shard.
#[derive(Debug, Clone)]
pub struct ShardMetrics {
    /// Commands and publications waiting for the shard.
    pub inbox: Gauge,
}

impl Metrics {
    /// Fresh metrics, all at zero, labelled ones with every value.
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let to = MetricRegistry::new(&recorder);
        let closes = "Connections ended by their close code.";
        let close = |code: &str| to.counter("closes_total", Unit::Count, closes, &[("code", code)]);
        let metrics = Self {
            connections: to.gauges("connections", "Open WebSockets."),
            groups: to.gauge("groups", Unit::Count, "Groups with a connection here.", &[]),
            outbox_bytes: to.gauge("outbox_bytes", Unit::Bytes, "Bytes waiting in outboxes.", &[]),
            requests_waiting: to.gauge(
                "requests_waiting",
                Unit::Count,
                "Joins, sends and calls of connections waiting to be served.",
                &[],
            ),
            publications: to.counters("publications_total", "Publications that arrived here."),
            deliveries: to.count("deliveries_total", "Publications handed to sockets."),
            dropped: to.counters("dropped_total", "Publications that missed a connection."),
            gaps: to.count("gaps_total", "Gaps told to connections."),
            calls_failed: to.counters("calls_failed_total", "Calls that came to nothing."),
            joins: to.count("joins_total", "Memberships begun."),
            writes: to.count("writes_total", "Write calls on sockets."),
            bytes_written: to.counter(
                "bytes_written_total",
                Unit::Bytes,
                "Bytes written to sockets.",
                &[],
            ),
            publish_to_write: Histogram::default(),
            layer: LayerMetrics {
                delivering: to.measure("layer_delivering", "1 while the layer delivers."),
                probe_seconds: to.gauge(
                    "layer_probe_seconds",
                    Unit::Seconds,
                    "From the sending of the newest probe to its return.",
                    &[],
                ),
                generation: to.measure("layer_generation", "Redis servers and data sets seen."),
                peers: to.measure("layer_peers", "Other instances that deliver."),
                lost: to.count("layer_lost_total", "Messages that found no room on arrival."),
                resubscribed: to.count("layer_subscription_lost_total", "Subscriptions lost."),
                unreadable: to.count("layer_unreadable_total", "Messages that say nothing."),
            },
            backend: BackendMetrics::new(&to),
            channels: Arc::new(ChannelsMetrics::new(&to)),
            auth_failures: to.counters(
                "auth_failures_total",
                "Tokens, keys and origins that were not accepted.",
            ),
            refusals: to.counters("refusals_total", "Connections turned away at the front door."),
            closes: CLOSE_CODES.map(|code| close(&code.to_string())),
            closes_other: close("other"),
            requests: RequestMetrics::default(),
            handle: recorder.handle(),
            recorder,
        };
        metrics.describe_process();
        metrics
    }

    fn describe_process(&self) {
        let to = MetricRegistry::new(&self.recorder);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let words = "When the process started, seconds since 1970.";
        to.gauge("start_time_seconds", Unit::Seconds, words, &[]).set(now.as_secs_f64());
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        to.gauge("build_info", Unit::Count, "Always 1; the label tells the build.", &version)
            .set(1.0);
    }

    /// The handles of the shard with this number.
    pub fn shard(&self, number: usize) -> ShardMetrics {
        let words = "Commands and publications waiting for a shard.";
        let label = [("shard", number.to_string())];
        let label = label.each_ref().map(|(name, value)| (*name, value.as_str()));
        ShardMetrics {
            inbox: MetricRegistry::new(&self.recorder).gauge(
                "inbox_length",
                Unit::Count,
                words,
                &label,
            ),
        }
    }

    /// The counter of connections that ended with `code`.
    pub fn closes(&self, code: u16) -> &Counter {
        match CLOSE_CODES.iter().position(|known| *known == code) {
            Some(index) => &self.closes[index],
            None => &self.closes_other,
        }
    }

    /// Counts one request that was answered with `status` after `elapsed`.
    ///
    /// `route` is the template, such as `/groups/{name}/send`; a path as it came would let anyone
    /// make time series without end.
    pub fn http_request(&self, route: &str, status: u16, elapsed: Duration) {
        self.requests.count(route, status, elapsed, || {
            let labels = [("route", route), ("status", &status.to_string())];
            let words = "Requests to the API by route and status.";
            MetricRegistry::new(&self.recorder).counter(
                "http_requests_total",
                Unit::Count,
                words,
                &labels,
            )
        });
    }

    /// The text exposition (Prometheus format 0.0.4).
    pub fn render(&self) -> String {
        let mut out = self.handle.render();
        let name = "groupcast_publish_to_write_seconds";
        header(name, "From the acceptance of a publication to its write.", &mut out);
        self.publish_to_write.render(name, "", &mut out);
        let name = "groupcast_http_request_seconds";
        header(name, "Time to answer a request to the API.", &mut out);
        self.requests.render(name, &mut out);
        self.backend.render(&mut out);
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
