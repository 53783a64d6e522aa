//! Forwards requests that open no WebSocket to the site, so that both share an origin: cookies,
//! CSRF tokens and `location.host` are as behind a proxy.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, HOST, UPGRADE};
use axum::http::uri::{Authority, Parts, PathAndQuery, Scheme};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::server::CLIENT_PATH;

/// Headers that concern one connection alone (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Where the site listens, as `host:port`; parsed from `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteAddress(Authority);

impl FromStr for SiteAddress {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let host = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        host.filter(|host| !host.is_empty() && host.chars().all(legal))
            .and_then(|host| host.parse().ok())
            .map(Self)
            .ok_or_else(|| "expected http://host:port, such as http://127.0.0.1:8000".to_owned())
    }
}

impl fmt::Display for SiteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The site that a developer runs next to the gateway, such as Django's `runserver`.
pub(super) struct Site {
    client: Client<HttpConnector, Body>,
    authority: Authority,
}

impl Site {
    pub(super) fn new(address: SiteAddress) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, authority: address.0 }
    }

    /// `gateway`, with the site serving everything else.
    pub(super) fn in_front_of(self, gateway: Router) -> Router {
        gateway.layer(from_fn_with_state(Arc::new(self), pass_on))
    }

    /// Forwards a request unchanged, including its Host, and returns the response unchanged.
    async fn pass(&self, mut request: Request) -> Response {
        strip(request.headers_mut());
        let forwarded = HeaderValue::from_static("http");
        request.headers_mut().insert("x-forwarded-proto", forwarded);
        if let Some(host) = request.headers().get(HOST).cloned() {
            request.headers_mut().insert("x-forwarded-host", host);
        }
        *request.version_mut() = Version::HTTP_11;
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = self.uri(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        match self.client.request(request).await {
            Ok(answer) => {
                let (mut head, body) = answer.into_parts();
                strip(&mut head.headers);
                Response::from_parts(head, Body::new(body))
            }
            Err(error) => {
                tracing::warn!(site = %self.authority, %error, "site unreachable");
                let text = format!(
                    "groupcast dev: nothing answers at http://{}.\nStart the site there, for \
                     example: python manage.py runserver {}\n",
                    self.authority, self.authority
                );
                (StatusCode::BAD_GATEWAY, text).into_response()
            }
        }
    }

    fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).expect("scheme, authority and path make a URI")
    }
}

/// The gateway serves its WebSockets and its client library; the site gets the rest.
async fn pass_on(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let upgrade = request.headers().get(UPGRADE).map(HeaderValue::as_bytes);
    let is_websocket = upgrade.is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"));
    if is_websocket || request.uri().path().starts_with(CLIENT_PATH) {
        return next.run(request).await;
    }
    site.pass(request).await
}

/// Removes the headers of one connection, and those that its `Connection` names.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}
