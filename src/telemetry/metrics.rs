//! The metrics of the gateway as a whole, described once; rooms with labels of their own describe
//! theirs in a `metrics.rs`.

use std::fmt;
use std::time::Duration;

use metrics::{Counter, Gauge, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::family::Counters;
use super::histogram::Histogram;
use super::registry::{Families, MetricRegistry, header};
use super::requests::RequestMetrics;
use crate::clock;
use crate::event::TargetKind;

/// The close codes with their own label; any other is counted as `other`.
const CLOSE_CODES: [u16; 18] = [
    1000, 1001, 1002, 1005, 1006, 1007, 1009, 1012, 4400, 4401, 4403, 4409, 4413, 4500, 4503, 4504,
    4508, 4529,
];

/// The handles of one gateway, shared by its rooms.
pub struct Metrics {
    /// Groups with at least one connection here.
    pub groups: Gauge,
    /// Bytes waiting in all outboxes.
    pub outbox_bytes: Gauge,
    /// Requests of connections (joins, sends, calls) waiting to be served.
    pub requests_waiting: Gauge,
    /// Publications that arrived at the hub.
    pub publications: Counters<TargetKind>,
    /// Publications written to sockets, counted per connection.
    pub deliveries: Counter,
    /// Gaps sent to connections.
    pub gaps: Counter,
    /// Memberships started.
    pub joins: Counter,
    /// Write calls on sockets.
    pub writes: Counter,
    /// Bytes written to sockets.
    pub bytes_written: Counter,
    /// From the acceptance of a publication to its write.
    pub publish_to_write: Histogram,
    /// Metrics of the layer.
    pub layer: LayerMetrics,
    closes: [Counter; CLOSE_CODES.len()],
    closes_other: Counter,
    requests: RequestMetrics,
    families: Families,
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

/// The handles of the channel layer.
#[derive(Debug, Clone)]
pub struct LayerMetrics {
    /// 1 while probes return through the layer.
    pub delivering: Gauge,
    /// Round trip of the latest probe.
    pub probe_seconds: Gauge,
    /// Changes whenever Redis or its data is replaced.
    pub generation: Gauge,
    /// Other instances that deliver.
    pub peers: Gauge,
    /// Messages dropped for lack of room.
    pub lost: Counter,
    /// How often the subscription was lost; each is a gap in every group.
    pub resubscribed: Counter,
    /// How often commands were missed for good, so that every connection was closed.
    pub commands_missed: Counter,
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
    /// New metrics, all at zero, with every label value.
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let families = Families::default();
        let to = MetricRegistry::new(&recorder, &families);
        let closes = "Closed connections, by close code.";
        let close = |code: &str| to.counter("closes_total", Unit::Count, closes, &[("code", code)]);
        let metrics = Self {
            groups: to.gauge("groups", Unit::Count, "Groups with a connection here.", &[]),
            outbox_bytes: to.gauge("outbox_bytes", Unit::Bytes, "Bytes queued in outboxes.", &[]),
            requests_waiting: to.gauge(
                "requests_waiting",
                Unit::Count,
                "Joins, sends and calls of connections waiting to be served.",
                &[],
            ),
            publications: to.counters("publications_total", "Publications that arrived here."),
            deliveries: to.count("deliveries_total", "Publications written to sockets."),
            gaps: to.count("gaps_total", "Gaps sent to connections."),
            joins: to.count("joins_total", "Memberships started."),
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
                    "Round trip of the latest probe.",
                    &[],
                ),
                generation: to
                    .measure("layer_generation", "Changes whenever Redis or its data is replaced."),
                peers: to.measure("layer_peers", "Other instances that deliver."),
                lost: to.count("layer_lost_total", "Messages dropped for lack of room."),
                resubscribed: to.count("layer_subscription_lost_total", "Subscriptions lost."),
                commands_missed: to.count(
                    "layer_commands_missed_total",
                    "How often commands were missed and every connection was closed.",
                ),
                unreadable: to.count("layer_unreadable_total", "Malformed messages."),
            },
            closes: CLOSE_CODES.map(|code| close(&code.to_string())),
            closes_other: close("other"),
            requests: RequestMetrics::default(),
            handle: recorder.handle(),
            families,
            recorder,
        };
        metrics.describe_process();
        metrics
    }

    /// For the metrics of a room, labelled by its own values.
    pub fn registry(&self) -> MetricRegistry<'_> {
        MetricRegistry::new(&self.recorder, &self.families)
    }

    fn describe_process(&self) {
        let to = self.registry();
        let now = clock::since_epoch();
        let description = "When the process started, seconds since 1970.";
        to.gauge("start_time_seconds", Unit::Seconds, description, &[]).set(now.as_secs_f64());
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        to.gauge("build_info", Unit::Count, "Always 1; the label has the version.", &version)
            .set(1.0);
    }

    /// The handles of the shard with this number.
    pub fn shard(&self, number: usize) -> ShardMetrics {
        let description = "Commands and publications waiting for a shard.";
        let label = [("shard", number.to_string())];
        let label = label.each_ref().map(|(name, value)| (*name, value.as_str()));
        ShardMetrics {
            inbox: self.registry().gauge("inbox_length", Unit::Count, description, &label),
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
    /// `route` is the template, such as `/groups/{name}/send`: with real paths anyone could create
    /// unlimited time series.
    pub fn http_request(&self, route: &str, status: u16, elapsed: Duration) {
        self.requests.count(route, status, elapsed, || {
            let labels = [("route", route), ("status", &status.to_string())];
            let description = "Requests to the API by route and status.";
            self.registry().counter("http_requests_total", Unit::Count, description, &labels)
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
        self.families.lock().iter().for_each(|family| family.render(&mut out));
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
