//! What surrounds every request to the API: its id, its limits, its line in log and metrics.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{
    MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer,
};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::trace::TraceLayer;
use tracing::field::Empty;
use tracing::{Span, info, info_span};

use crate::http::ProblemKind;
use crate::telemetry::Metrics;

/// The template that stands for every path without an endpoint.
const NO_ROUTE: &str = "none";

/// Most requests in progress. Each may hold a body, at most 1 MiB by default, so this is at worst
/// 256 MiB, for callers whose key is known; others get 503.
pub(super) const MAX_IN_FLIGHT: usize = 256;

/// Bounds and counts the requests in progress.
pub(super) struct InFlight {
    pub(super) slots: Semaphore,
    metrics: Arc<Metrics>,
}

impl InFlight {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { slots: Semaphore::new(MAX_IN_FLIGHT), metrics }
    }
}

/// Puts the layers around `router`, the outermost first.
pub(super) fn surround(router: Router, in_flight: &Arc<InFlight>) -> Router {
    router.layer(
        ServiceBuilder::new()
            .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]))
            .layer(SetRequestIdLayer::x_request_id(Numbered::default()))
            .layer(
                TraceLayer::new_for_http()
                    .make_span_with(span)
                    .on_request(())
                    .on_response(())
                    .on_failure(()),
            )
            .layer(PropagateRequestIdLayer::x_request_id())
            .layer(from_fn_with_state(Arc::clone(in_flight), bounded))
            .layer(CatchPanicLayer::custom(panicked)),
    )
}

/// Refuses a request beyond the limit, and counts every one by route and status.
async fn bounded(State(in_flight): State<Arc<InFlight>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = match in_flight.slots.try_acquire() {
        Ok(_slot) => next.run(request).await,
        Err(_) => ProblemKind::Busy.because("too many requests in progress").into_response(),
    };
    let status = response.status();
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    in_flight.metrics.http_request(route, status.as_u16(), began.elapsed());
    if let Some(kind) = response.extensions().get::<ProblemKind>() {
        // The kind alone: details may quote the request.
        info!(status = status.as_u16(), code = kind.code(), "request refused");
    }
    response
}

/// The panic's message went to stderr through the panic hook.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    ProblemKind::Internal.because("see the gateway's log for this request's id").into_response()
}

/// Everything logged about a request carries this, and the name of its key once that is known; never
/// headers, query or body.
fn span(request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str);
    let id = request.extensions().get::<RequestId>().map(RequestId::header_value);
    info_span!("request", method = %request.method(), route, id = ?id, key = Empty)
}

/// Numbers requests that carry no id.
#[derive(Debug, Clone, Default)]
struct Numbered(Arc<AtomicU64>);

impl MakeRequestId for Numbered {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        Some(RequestId::new(HeaderValue::from(number)))
    }
}
