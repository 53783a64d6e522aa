//! What operators and orchestrators ask: is it alive, does it deliver, what has it counted.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::time::timeout;

use crate::channels::ChannelLayer;
use crate::hub::Hub;
use crate::layer::Layer;
use crate::shutdown::{Phase, Shutdown};
use crate::telemetry::Metrics;

/// The Prometheus text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long shards may take to say what waits; scrapers give up after 10 s by default.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the answers are made of.
pub(super) struct Operation {
    pub(super) metrics: Arc<Metrics>,
    pub(super) hub: Hub,
    pub(super) layer: Layer,
    pub(super) channel_layer: Option<ChannelLayer>,
    pub(super) shutdown: Shutdown,
}

impl Operation {
    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(Arc::new(self))
    }
}

/// Ready unless another instance would do better; `?strict` also unless everything gets through.
///
/// When nobody can deliver, turning this instance away helps nobody: its connections are worth having
/// for the moment at which the layer is back.
async fn ready(State(operation): State<Arc<Operation>>, RawQuery(query): RawQuery) -> Response {
    let health = operation.layer.health();
    let strict = query.is_some_and(|query| query.split('&').any(|part| part == "strict"));
    let draining = operation.channel_layer.as_ref().is_none_or(ChannelLayer::is_well);
    let red = match operation.shutdown.phase() {
        Phase::Draining | Phase::Closed => Some("draining\n"),
        Phase::Running if !health.started => Some("starting\n"),
        Phase::Running if !health.delivering && health.peers > 0 => Some("not delivering\n"),
        Phase::Running if strict && !health.lossless => Some("losing\n"),
        Phase::Running if strict && !draining => Some("sources are not drained\n"),
        Phase::Running => None,
    };
    match red {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

async fn metrics(State(operation): State<Arc<Operation>>) -> Response {
    let health = operation.layer.health();
    operation.metrics.layer.delivering.set(if health.delivering { 1.0 } else { 0.0 });
    if let Some(channel_layer) = &operation.channel_layer {
        channel_layer.is_well();
    }
    operation.metrics.groups.set(operation.hub.groups() as f64);
    // Shards that are too busy to answer are when metrics are wanted most: then the last value stays.
    if let Ok(bytes) = timeout(PATIENCE, operation.hub.outbox_bytes()).await {
        operation.metrics.outbox_bytes.set(bytes as f64);
    }
    ([(CONTENT_TYPE, EXPOSITION)], operation.metrics.render()).into_response()
}
