//! In `dev`: what is no WebSocket goes on to the site, so that one origin serves both and cookies, CSRF
//! tokens and `location.host` are what they will be behind a proxy.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, HOST, UPGRADE};
use axum::http::uri::{Authority, InvalidUri, Parts, PathAndQuery, Scheme};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// What concerns one connection alone (RFC 9110 section 7.6.1).
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

/// The site that a developer runs beside the gateway, such as Django's `runserver`.
pub(super) struct Site {
    client: Client<HttpConnector, Body>,
    authority: Authority,
}

impl Site {
    /// The site at `authority`, such as `127.0.0.1:8000`.
    pub(super) fn new(authority: &str) -> Result<Self, InvalidUri> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { client, authority: authority.parse()? })
    }

    /// Whether a request is for the site: a WebSocket is the gateway's.
    pub(super) fn wants(request: &Request) -> bool {
        let upgrade = request.headers().get(UPGRADE).map(HeaderValue::as_bytes);
        !upgrade.is_some_and(|word| word.eq_ignore_ascii_case(b"websocket"))
    }

    /// Passes a request on as it came, its Host included, and the answer back as it comes.
    pub(super) async fn pass(&self, mut request: Request) -> Response {
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
                tracing::warn!(site = %self.authority, %error, "the site does not answer");
                let words = format!(
                    "groupcast dev: nothing answers at http://{}.\nStart the site there, for example: \
                     python manage.py runserver {}\n",
                    self.authority, self.authority
                );
                (StatusCode::BAD_GATEWAY, words).into_response()
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

/// Takes out what concerns one connection alone, also what its `Connection` names.
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
