//! The HTTP API of back ends: send events, change memberships,
//! close connections, ask why somebody did not see one.

mod auth;
mod batch;
mod close;
mod layers;
mod look;
mod members;
mod openapi;
mod request;
mod send;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::{get, post, put};
use tokio::sync::Semaphore;

use super::problem::{Kind, Problem};
use crate::channels::ChannelLayer;
use crate::hub::Hub;
use crate::identity::ApiKeys;
use crate::publish::Publisher;
use crate::telemetry::Metrics;

/// Most requests in flight. Each may hold a body, at most 1 MiB by default, so this is at worst
/// 256 MiB, of callers whose key is known; more are told to come back.
const MAX_IN_FLIGHT: usize = 256;

/// What the endpoints work with.
pub struct Api {
    publisher: Arc<Publisher>,
    hub: Hub,
    keys: ApiKeys,
    /// Knows the names by which Django reaches connections.
    channel_layer: Option<ChannelLayer>,
    metrics: Arc<Metrics>,
    timeout: Duration,
    slots: Semaphore,
}

impl Api {
    /// An API that waits at most `timeout` for a body, and for the shards.
    pub fn new(
        publisher: Arc<Publisher>,
        hub: Hub,
        keys: ApiKeys,
        metrics: Arc<Metrics>,
        timeout: Duration,
    ) -> Self {
        let slots = Semaphore::new(MAX_IN_FLIGHT);
        Self { publisher, hub, keys, channel_layer: None, metrics, timeout, slots }
    }

    /// The same API, which tells by what names Django's channel layer reaches connections.
    pub fn with_channel_layer(self, channel_layer: Option<ChannelLayer>) -> Self {
        Self { channel_layer, ..self }
    }

    /// Its endpoints. Whatever else the listener serves can be merged with them; their answer to
    /// unknown paths then holds for all.
    pub fn router(self) -> Router {
        routes(&Arc::new(self))
    }
}

fn routes(api: &Arc<Api>) -> Router {
    let router = Router::new()
        .route("/groups/{name}", get(look::at_group))
        .route("/groups/{name}/send", post(send::to_group))
        .route("/groups/{name}/members/{member}", put(members::add).delete(members::remove))
        .route("/users/{sub}", get(look::at_user))
        .route("/users/{sub}/send", post(send::to_user))
        .route("/users/{sub}/close", post(close::user_connections))
        .route("/connections/{id}/send", post(send::to_connection))
        .route("/connections/{id}/close", post(close::connection))
        .route("/send", post(send::to_all))
        .route("/batch", post(batch::send))
        .route("/openapi.json", get(openapi::document))
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_such_path)
        .with_state(Arc::clone(api));
    layers::surround(router, api)
}

async fn no_such_path(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(120).collect();
    Kind::NotFound.because(format!("no endpoint {path:?}; /openapi.json lists them"))
}

/// The router names the allowed methods in `allow`.
async fn wrong_method(method: Method) -> Problem {
    let method: String = method.as_str().chars().take(20).collect();
    Kind::MethodNotAllowed.because(format!("no method {method:?} here; see the header 'allow'"))
}
