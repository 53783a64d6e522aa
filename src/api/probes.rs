//! Endpoints for operators and orchestrators: liveness, readiness, metrics.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;
use tokio::time::timeout;

use super::peers::PeerCheck;
use crate::excerpt::excerpt;
use crate::hub::Hub;
use crate::layer::Layer;
use crate::shutdown::{Phase, Shutdown};
use crate::sources::{AmqpSource, Sources};
use crate::telemetry::Metrics;

/// The Prometheus text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long shards may take to report their outboxes; scrapers give up after 10 s by default.
const SHARD_TIMEOUT: Duration = Duration::from_secs(1);

/// The most characters of Redis' error that a probe shows.
const MAX_REFUSAL: usize = 200;

/// The state that the probes report.
pub(crate) struct Probes {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) hub: Hub,
    pub(crate) layer: Layer,
    pub(crate) sources: Option<Sources>,
    pub(crate) amqp: Option<AmqpSource>,
    pub(crate) peers: PeerCheck,
    /// The name of a shard or task that is stuck.
    pub(crate) stuck: watch::Receiver<Option<String>>,
    pub(crate) shutdown: Shutdown,
}

impl Probes {
    /// The endpoints: `/healthz`, `/readyz` and `/metrics`.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(alive))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(Arc::new(self))
    }

    /// Why this instance is not ready, if it is not. `strict` also reports losses that another
    /// instance would not avoid.
    ///
    /// When no instance can deliver, this one stays ready: its connections are useful as soon as
    /// the layer is back.
    fn not_ready(&self, strict: bool) -> Option<Cow<'static, str>> {
        let health = self.layer.health();
        if strict && let Some(words) = self.layer.refusal() {
            return Some(format!("redis refuses: {}\n", excerpt(&words, MAX_REFUSAL)).into());
        }
        let draining = self.sources.as_ref().is_none_or(Sources::is_draining);
        let consuming = self.amqp.as_ref().is_none_or(AmqpSource::is_up);
        let why = match self.shutdown.phase() {
            Phase::Draining | Phase::Closed => "draining\n",
            Phase::Running if !health.started => "starting\n",
            Phase::Running
                if !health.delivering && (health.peers > 0 || self.peers.found_delivering()) =>
            {
                "not delivering\n"
            }
            Phase::Running if strict && !health.lossless => "losing events\n",
            Phase::Running if strict && !draining => {
                let failure = self.sources.as_ref().and_then(Sources::failure);
                return Some(match failure {
                    Some(words) => format!("{}\n", excerpt(&words, MAX_REFUSAL)).into(),
                    None => "sources are not drained\n".into(),
                });
            }
            Phase::Running if strict && !consuming => "the queue of RabbitMQ is not consumed\n",
            Phase::Running => return None,
        };
        Some(why.into())
    }
}

impl Probes {
    /// Whether this instance delivers, for another one that cannot.
    fn delivering(&self) -> Response {
        match self.shutdown.phase() == Phase::Running && self.layer.health().delivering {
            true => "delivering\n".into_response(),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not delivering\n").into_response(),
        }
    }
}

/// Whether no restart is needed. Redis counts for nothing here: a restart does not bring it back.
async fn alive(State(probes): State<Arc<Probes>>) -> Response {
    match probes.stuck.borrow().as_deref() {
        None => "ok\n".into_response(),
        Some(name) => (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {name}\n")).into_response(),
    }
}

async fn ready(State(probes): State<Arc<Probes>>, RawQuery(query): RawQuery) -> Response {
    let asks = |what| query.as_ref().is_some_and(|query| query.split('&').any(|part| part == what));
    if asks("delivering") {
        return probes.delivering();
    }
    let strict = asks("strict");
    match probes.not_ready(strict) {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

async fn metrics(State(probes): State<Arc<Probes>>) -> Response {
    let health = probes.layer.health();
    probes.metrics.layer.delivering.set(if health.delivering { 1.0 } else { 0.0 });
    if let Some(sources) = &probes.sources {
        // Updates the metric.
        sources.is_draining();
    }
    if let Some(amqp) = &probes.amqp {
        // As above.
        amqp.snapshot();
    }
    probes.metrics.groups.set(probes.hub.groups() as f64);
    // Metrics matter most when shards are too busy to answer: then the last value stays.
    if let Ok(bytes) = timeout(SHARD_TIMEOUT, probes.hub.outbox_bytes()).await {
        probes.metrics.outbox_bytes.set(bytes as f64);
    }
    ([(CONTENT_TYPE, EXPOSITION)], probes.metrics.render()).into_response()
}
