//! What back ends and operators use over HTTP: sending, memberships, closing, reports, probes.

mod auth;
mod batch;
mod broadcast;
mod close;
mod console;
mod layers;
mod members;
mod openapi;
mod peers;
mod probes;
mod receipt;
mod refusals;
mod reports;
mod request;
mod schemas;
mod send;
mod settings;
mod state;
mod tasks;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::{get, post, put};

use crate::excerpt::excerpt;
use crate::http::{Problem, ProblemKind};
pub(crate) use console::GuessLimit;
use layers::InFlightRequests;
pub(crate) use peers::PeerCheck;
pub(crate) use probes::Probes;
pub(crate) use settings::Settings;
pub(crate) use state::Api;

impl Api {
    /// The endpoints. Routers merged with this one share its answer to unknown paths.
    pub(crate) fn router(self) -> Router {
        let in_flight = Arc::new(InFlightRequests::new(Arc::clone(&self.metrics)));
        routes(Arc::new(self), &in_flight)
    }
}

fn routes(api: Arc<Api>, in_flight: &Arc<InFlightRequests>) -> Router {
    let router = Router::new()
        .route("/groups/{name}", get(reports::group))
        .route("/groups/{name}/send", post(send::to_group))
        .route("/groups/{name}/members/{member}", put(members::add).delete(members::remove))
        .route("/users/{sub}", get(reports::user))
        .route("/users/{sub}/send", post(send::to_user))
        .route("/users/{sub}/close", post(close::user_connections))
        .route("/connections/{id}/send", post(send::to_connection))
        .route("/connections/{id}/close", post(close::connection))
        .route("/broadcast", post(broadcast::broadcast))
        .route("/batch", post(batch::send))
        .route("/tasks/{id}/revoke", post(tasks::revoke))
        .route("/tasks/{id}/retry", post(tasks::retry))
        .route("/openapi.json", get(openapi::document))
        .route("/console/snapshot", get(console::snapshot))
        .route("/console/stream", get(console::stream))
        .route("/console/groups", get(console::groups))
        .route("/console/connections", get(console::connections))
        .route("/console/log", get(console::log))
        .route("/console/why", get(console::why))
        .route("/console/tap", get(console::tap))
        .route("/console/sources", get(console::sources))
        .route("/console/tasks", get(console::tasks))
        .merge(console::page(&api.keys))
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_such_path)
        .with_state(api);
    layers::surround(router, in_flight)
}

async fn no_such_path(uri: Uri) -> Problem {
    let path = excerpt(uri.path(), 120);
    ProblemKind::NotFound.because(format!("no endpoint {path:?}; /openapi.json lists them"))
}

/// The router names the allowed methods in `allow`.
async fn wrong_method(method: Method) -> Problem {
    let method = excerpt(method.as_str(), 20);
    let detail = format!("no method {method:?} here; the header 'allow' lists the methods");
    ProblemKind::MethodNotAllowed.because(detail)
}
