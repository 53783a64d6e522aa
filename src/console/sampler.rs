//! Takes snapshots of this instance when somebody asks, at most one a second for all who ask.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::handle::SHARD_TIMEOUT;
use super::metric_values::MetricValues;
use super::snapshot::{HotGroup, Snapshot};
use crate::clock;
use crate::hub::{GroupRate, Hub};
use crate::layer::Layer;
use crate::telemetry::Metrics;

/// How long a snapshot serves all who ask.
const FRESH: Duration = Duration::from_millis(900);

/// After so long without a question the last values tell nothing about now, and the first snapshot
/// takes two readings.
const STALE: Duration = Duration::from_secs(5);

/// Time between those two.
const FIRST_SPAN: Duration = Duration::from_millis(250);

/// Groups in a snapshot.
const HOT: usize = 20;

/// Where snapshots come from.
pub(super) struct Sample {
    hub: Hub,
    layer: Layer,
    metrics: Arc<Metrics>,
    started: Instant,
}

/// A reading of the counters.
struct Reading {
    at: Instant,
    values: MetricValues,
}

impl Sample {
    pub(super) fn new(hub: Hub, layer: Layer, metrics: Arc<Metrics>) -> Self {
        Self { hub, layer, metrics, started: Instant::now() }
    }

    fn read(&self) -> Reading {
        Reading { at: Instant::now(), values: MetricValues::read(&self.metrics.render()) }
    }

    async fn take(&self, before: &Reading) -> (Snapshot, Reading) {
        let rates = timeout(SHARD_TIMEOUT, self.hub.group_rates()).await.unwrap_or_default();
        let outboxes = timeout(SHARD_TIMEOUT, self.hub.outbox_bytes()).await.unwrap_or_default();
        let now = self.read();
        let span = now.at.duration_since(before.at).as_secs_f64().max(0.001);
        let rate = |family| (now.values.sum(family) - before.values.sum(family)).max(0.0) / span;
        let time = |share| {
            now.values.delivery_time(&before.values, share).map(|time| time.as_secs_f64() * 1e3)
        };
        let health = self.layer.health();
        let snapshot = Snapshot {
            instance: self.hub.instance().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: clock::since_epoch().as_millis() as u64,
            uptime: self.started.elapsed().as_secs(),
            connections: self.hub.connections() as u64,
            groups: self.hub.groups() as u64,
            outbox_bytes: outboxes as u64,
            memory: resident_bytes().unwrap_or_default(),
            publications: rate("publications_total"),
            deliveries: rate("deliveries_total"),
            drops: rate("dropped_total"),
            gaps: rate("gaps_total"),
            joins: rate("joins_total"),
            closes: rate("closes_total"),
            p50: time(0.5),
            p99: time(0.99),
            delivering: health.delivering,
            lossless: health.lossless,
            probe: now.values.sum("layer_probe_seconds") * 1e3,
            refusal: self.layer.refusal(),
            hot: hottest(rates, span),
            metrics: now.values.shown(),
        };
        (snapshot, now)
    }
}

/// Answers each request with a snapshot, a fresh one if the last is old.
pub(super) async fn sample_on_demand(
    sample: Sample,
    mut requests: mpsc::Receiver<oneshot::Sender<Arc<Snapshot>>>,
) {
    let mut last: Option<(Reading, Arc<Snapshot>)> = None;
    while let Some(reply) = requests.recv().await {
        if let Some((reading, snapshot)) = &last
            && reading.at.elapsed() < FRESH
        {
            let _ = reply.send(Arc::clone(snapshot));
            continue;
        }
        let before = match last.take().filter(|(reading, _)| reading.at.elapsed() < STALE) {
            Some((reading, _)) => reading,
            None => {
                let _ = timeout(SHARD_TIMEOUT, sample.hub.group_rates()).await;
                let reading = sample.read();
                sleep(FIRST_SPAN).await;
                reading
            }
        };
        let (snapshot, reading) = sample.take(&before).await;
        let snapshot = Arc::new(snapshot);
        // The one who asked may have gone.
        let _ = reply.send(Arc::clone(&snapshot));
        last = Some((reading, snapshot));
    }
    // The console is part of what serves the API, so this task outlives it only at the end.
    std::future::pending::<()>().await;
}

fn hottest(mut rates: Vec<GroupRate>, span: f64) -> Vec<HotGroup> {
    rates.sort_unstable_by(|a, b| (b.publications, &a.name).cmp(&(a.publications, &b.name)));
    let hot = rates.into_iter().filter(|it| it.publications > 0).take(HOT);
    hot.map(|it| HotGroup {
        name: it.name,
        rate: it.publications as f64 / span,
        inherited: it.inherited as f64 / span,
        members: it.members,
    })
    .collect()
}

/// The resident memory of this process, from the second number of `/proc/self/statm`, in pages.
fn resident_bytes() -> Option<u64> {
    const PAGE: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| pages * PAGE)
}
