//! What browsers load from here: the client, and in `dev` the page to try it on.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde_json::json;
use tower_http::set_header::SetResponseHeaderLayer;

use super::problem::{Kind, Problem};
use super::{DevSettings, origin};
use crate::event::{Event, Target};
use crate::group::GroupName;
use crate::publish::{PublishRequest, Publisher};

const CLIENT: &[u8] = include_bytes!("../../client-js/dist/groupcast.js");
const CLIENT_TYPES: &[u8] = include_bytes!("../../client-js/dist/groupcast.d.ts");
const PAGE: &[u8] = include_bytes!("page/index.html");
const PAGE_SCRIPT: &[u8] = include_bytes!("page/page.js");
const PAGE_STYLE: &[u8] = include_bytes!("page/page.css");

/// Nothing inline, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; \
                      frame-ancestors 'none'; form-action 'none'";

/// `v1` in the path promises compatibility, not the same bytes: looked up again after an hour.
const CLIENT_CACHE: &str = "public, max-age=3600";

/// What the page to try it on works with.
struct Dev {
    session: serde_json::Value,
    publisher: Arc<Publisher>,
}

/// The client for everybody, and the page if this is `dev`.
pub(super) fn router<S: Clone + Send + Sync + 'static>(
    dev: Option<&DevSettings>,
    publisher: Arc<Publisher>,
    api: std::net::SocketAddr,
) -> Router<S> {
    let client = Router::new()
        .route(
            "/client/v1/groupcast.js",
            for_any_origin(file(CLIENT, "text/javascript", CLIENT_CACHE)),
        )
        .route("/client/v1/groupcast.d.ts", file(CLIENT_TYPES, "text/plain", CLIENT_CACHE));
    // A site beside the gateway has pages of its own.
    let Some(dev) = dev.filter(|dev| dev.site.is_none()) else { return client };
    let dev = Dev { session: session(dev, api), publisher };
    let page = Router::new()
        .route(
            "/dev/session",
            get(async |State(dev): State<Arc<Dev>>| axum::Json(dev.session.clone())),
        )
        .route("/dev/send/{group}", post(send))
        .with_state(Arc::new(dev));
    client
        .route("/", file(PAGE, "text/html", "no-cache"))
        .route("/page.js", file(PAGE_SCRIPT, "text/javascript", "no-cache"))
        .route("/page.css", file(PAGE_STYLE, "text/css", "no-cache"))
        .merge(page)
}

fn file<S: Clone + Send + Sync + 'static>(
    bytes: &'static [u8],
    kind: &'static str,
    cache: &'static str,
) -> MethodRouter<S> {
    get(move || async move {
        let kind = HeaderValue::from_str(&format!("{kind}; charset=utf-8"));
        let headers = [
            (CONTENT_TYPE, kind.expect("media types are legal header values")),
            (CACHE_CONTROL, HeaderValue::from_static(cache)),
            (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        ];
        (headers, bytes)
    })
}

/// A site imports the client from the gateway's host, which is another origin: without this header
/// browsers fetch a module and then refuse to run it.
fn for_any_origin<S: Clone + Send + Sync + 'static>(file: MethodRouter<S>) -> MethodRouter<S> {
    let any = HeaderValue::from_static("*");
    file.layer(SetResponseHeaderLayer::overriding(ACCESS_CONTROL_ALLOW_ORIGIN, any))
}

fn session(dev: &DevSettings, api: std::net::SocketAddr) -> serde_json::Value {
    let curl = format!(
        "curl http://{api}/groups/{}/send -H 'Authorization: Bearer {}' \
         -H 'Content-Type: application/json' -d '{{\"type\":\"aviso\",\"texto\":\"hola\"}}'",
        dev.group, dev.api_key
    );
    json!({
        "url": dev.path,
        "token": dev.token,
        "sub": dev.sub,
        "group": dev.group,
        "api": format!("http://{api}"),
        "key": dev.api_key,
        "curl": curl,
    })
}

/// The page's form: the same publisher as everybody's, for pages of this origin alone.
async fn send(
    State(dev): State<Arc<Dev>>,
    Path(group): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    if origin::check(&headers, &[]).is_err() {
        return Err(Kind::Forbidden.because("the form answers to its own page only"));
    }
    let group =
        GroupName::parse(&group).map_err(|error| Kind::BadGroup.because(error.to_string()))?;
    let event = Event::parse(body).map_err(|error| Kind::BadEvent.because(error.to_string()))?;
    let accepted = dev.publisher.publish(Target::Group(group), PublishRequest::new(event)).await?;
    let answer = axum::Json(json!({ "id": accepted.id.to_string() }));
    Ok((StatusCode::ACCEPTED, answer).into_response())
}
