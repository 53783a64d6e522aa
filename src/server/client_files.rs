//! The client library, as browsers load it from the gateway.

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::http::file;

/// Where the client library's files are.
pub(crate) const CLIENT_PATH: &str = "/client/v1/";

const SCRIPT: &[u8] = include_bytes!("../../client-js/dist/groupcast.js");
const TYPES: &[u8] = include_bytes!("../../client-js/dist/groupcast.d.ts");

/// `v1` in the path promises compatibility, not the same bytes: looked up again after an hour.
const CACHE: &str = "public, max-age=3600";

/// Serves the module and its type declarations.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    // A site imports the module from the gateway's host, which is another origin: without this
    // header browsers fetch it and then refuse to run it.
    let any_origin = SetResponseHeaderLayer::overriding(
        ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    Router::new()
        .route("/client/v1/groupcast.js", file(SCRIPT, "text/javascript", CACHE).layer(any_origin))
        .route("/client/v1/groupcast.d.ts", file(TYPES, "text/plain", CACHE))
}
