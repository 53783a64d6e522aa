//! Middleware of the API: request ids, limits, log and metrics.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn_with_state, map_request};
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

use crate::excerpt::excerpt;
use crate::http::ProblemKind;
use crate::telemetry::Metrics;

/// The template for all paths without an endpoint.
const NO_ROUTE: &str = "none";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Marks the changes that a person makes in the console; its value means nothing.
const CONSOLE: HeaderName = HeaderName::from_static("groupcast-console");

/// Longest path in the log, characters.
const MAX_PATH: usize = 200;

/// The longest request id that is returned, in bytes: a UUID has 36, a W3C trace context 55.
const MAX_REQUEST_ID: usize = 128;

/// The most requests in progress; others get 503. Each may hold a body of at most 1 MiB by default,
/// so this is at most 256 MiB, and only for callers with a key.
pub(super) const MAX_IN_FLIGHT: usize = 256;

/// Limits and counts the requests in progress.
pub(super) struct InFlightRequests {
    pub(super) slots: Semaphore,
    metrics: Arc<Metrics>,
}

impl InFlightRequests {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { slots: Semaphore::new(MAX_IN_FLIGHT), metrics }
    }
}

/// Adds the middleware to `router`, the outermost first.
pub(super) fn surround(router: Router, in_flight: &Arc<InFlightRequests>) -> Router {
    router.layer(
        ServiceBuilder::new()
            .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]))
            .layer(map_request(drop_unusable_request_id))
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
async fn bounded(
    State(in_flight): State<Arc<InFlightRequests>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let change = change_of(&request);
    let response = match in_flight.slots.try_acquire() {
        Ok(_slot) => next.run(request).await,
        Err(_) => ProblemKind::Busy.because("too many requests in progress").into_response(),
    };
    let status = response.status();
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    in_flight.metrics.http_request(route, status.as_u16(), began.elapsed());
    if let Some(path) = change {
        // The span of the request has the name of the key.
        info!(status = status.as_u16(), path, "changed from the console");
    }
    if let Some(kind) = response.extensions().get::<ProblemKind>() {
        // Only the kind: details may quote the request.
        info!(status = status.as_u16(), code = kind.code(), "request refused");
    }
    response
}

/// The path of a request by which a person changes something in the console, without its query.
fn change_of(request: &Request) -> Option<String> {
    let by_console = request.headers().contains_key(CONSOLE) && !request.method().is_safe();
    by_console.then(|| excerpt(request.uri().path(), MAX_PATH))
}

/// The panic's message went to stderr through the panic hook.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    ProblemKind::Internal.because("see the gateway's log for this request's id").into_response()
}

/// The span of a request's log lines. It also gets the name of the key, once known; never headers,
/// query or body.
fn span(request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str);
    let id = request.extensions().get::<RequestId>().map(RequestId::header_value);
    info_span!("request", method = %request.method(), route, id = ?id, key = Empty)
}

/// Removes a request id that must not appear in log lines. The request then gets a number, like one
/// without an id.
async fn drop_unusable_request_id(mut request: Request) -> Request {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-:/+=@".contains(byte);
    let usable = |id: &HeaderValue| {
        let bytes = id.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(legal)
    };
    let mut ids = request.headers().get_all(&REQUEST_ID).iter();
    let unusable = ids.next().is_some_and(|id| !usable(id)) || ids.next().is_some();
    if unusable {
        request.headers_mut().remove(&REQUEST_ID);
    }
    request
}

/// Numbers requests without an id.
#[derive(Debug, Clone, Default)]
struct Numbered(Arc<AtomicU64>);

impl MakeRequestId for Numbered {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        Some(RequestId::new(HeaderValue::from(number)))
    }
}
