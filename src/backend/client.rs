//! The HTTP client of the back end: requests signed, answers bounded in time and size, no
//! redirects.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::path_header::PATH;
use super::sign::{SIGNATURE, Signed, Signer};
use super::{BackendError, Settings};
use crate::clock;
use crate::excerpt::excerpt;

/// Largest body of an answer, bytes.
pub(super) const MAX_ANSWER: usize = 64 * 1024;

/// Longest head of an answer, bytes, and most lines in it.
const MAX_HEAD: usize = 32 * 1024;
const MAX_HEADERS: usize = 100;

/// How long an idle connection is reused. gunicorn closes it after 2 s by default, and a request
/// that crosses with the close cannot be told from one that was served.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// Longest foreign text in a cause for logs, characters.
const MAX_CAUSE: usize = 200;

/// Headers that the configuration may not set, and why.
const RESERVED: [(&str, &str); 7] = [
    ("host", "hooks carry the browser's, calls backend.host"),
    ("content-length", "it is the body's"),
    ("content-type", "bodies are JSON"),
    ("transfer-encoding", "bodies are sent whole"),
    ("connection", "connections are the gateway's own"),
    ("upgrade", "nothing is upgraded"),
    ("idempotency-key", "it is the client's"),
];

/// Sends requests to the back end. Connections are kept and shared.
#[derive(Debug)]
pub struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    authority: Authority,
    signer: Signer,
    headers: HeaderMap,
    timeout: Duration,
}

/// A request before it is signed.
#[derive(Debug, Clone)]
pub(super) struct OutgoingRequest<'a> {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A response of any status.
#[derive(Debug, Clone)]
pub struct BackendResponse {
    /// The HTTP status.
    pub status: StatusCode,
    /// The `Location` header.
    pub location: Option<String>,
    /// Whether its `Content-Type` is JSON.
    pub json: bool,
    /// The body, at most 64 KiB.
    pub body: Bytes,
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The request was never sent.
    #[error("no connection to {authority}: {cause}")]
    Connect {
        /// Host and port.
        authority: String,
        /// The operating system's error.
        cause: String,
    },
    /// The connection ended during the request: it may have been served.
    #[error("the connection to {authority} ended before the answer: {cause}")]
    Broken {
        /// Host and port.
        authority: String,
        /// How it ended.
        cause: String,
    },
    /// No whole answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Path and query that no request line can carry: `http` allows 65,534 bytes of URI.
    #[error("path and query have {0} bytes: too long for a request")]
    TargetTooLong(usize),
    /// A body over 64 KiB.
    #[error("the answer's body exceeds {MAX_ANSWER} bytes")]
    TooLarge,
}

impl Client {
    /// A client of the configured back end. No connection is made before the first request.
    pub fn new(settings: &Settings) -> Result<Self, BackendError> {
        let authority = authority(&settings.url)?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(settings.timeout));
        connector.set_nodelay(true);
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(settings.parallel.saturating_add(settings.calls_parallel))
            .http1_max_buf_size(MAX_HEAD)
            .http1_max_headers(MAX_HEADERS)
            .build(connector);
        let signer = Signer::new(settings)?;
        let headers = headers(&settings.headers)?;
        if !settings.host.is_empty() && settings.host.parse::<Authority>().is_err() {
            return Err(BackendError::Host(settings.host.clone()));
        }
        Ok(Self { http, authority, signer, headers, timeout: settings.timeout })
    }

    /// The back end's `host:port`.
    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Sends one request. Every status is an answer; redirects are not followed.
    pub(super) async fn send(
        &self,
        request: OutgoingRequest<'_>,
    ) -> Result<BackendResponse, RequestError> {
        let exchange = self.exchange(self.sign(request)?);
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(RequestError::Timeout(self.timeout)),
        }
    }

    fn sign(&self, request: OutgoingRequest<'_>) -> Result<Request<Full<Bytes>>, RequestError> {
        let OutgoingRequest { method, target, headers, body } = request;
        let time = clock::unix_seconds();
        let path = headers.get(PATH).map(HeaderValue::as_bytes).unwrap_or_default();
        let method_name = method.as_str();
        let signature =
            self.signer.sign(&Signed { time, method: method_name, target, path, body: &body });
        let signature = HeaderValue::try_from(signature).expect("a key id is legal in a header");
        let mut request = Request::new(Full::new(body));
        // The characters were checked when the target was made, so only its length can be wrong.
        *request.uri_mut() = format!("http://{}{target}", self.authority)
            .parse()
            .map_err(|_| RequestError::TargetTooLong(target.len()))?;
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        request.headers_mut().insert(SIGNATURE, signature);
        Ok(request)
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<BackendResponse, RequestError> {
        let response = self.http.request(request).await.map_err(|error| {
            let (authority, cause) = (self.authority.to_string(), cause(&error));
            match error.is_connect() {
                true => RequestError::Connect { authority, cause },
                false => RequestError::Broken { authority, cause },
            }
        })?;
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(body) => body.to_bytes(),
            // Django's page on an exception is larger; the status suffices.
            Err(error) if error.is::<LengthLimitError>() && !head.status.is_success() => {
                Bytes::new()
            }
            Err(error) if error.is::<LengthLimitError>() => return Err(RequestError::TooLarge),
            Err(error) => {
                let (authority, cause) = (self.authority.to_string(), cause(&*error));
                return Err(RequestError::Broken { authority, cause });
            }
        };
        let text = |name: HeaderName| {
            let value = head.headers.get(name)?;
            Some(excerpt(&String::from_utf8_lossy(value.as_bytes()), MAX_CAUSE))
        };
        let json = text(CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        });
        Ok(BackendResponse { status: head.status, location: text(LOCATION), json, body })
    }
}

fn authority(url: &str) -> Result<Authority, BackendError> {
    let wrong = || BackendError::Url(url.to_owned());
    let named = url.strip_prefix("http://").ok_or_else(wrong)?;
    let authority: Authority =
        named.strip_suffix('/').unwrap_or(named).parse().map_err(|_| wrong())?;
    // After the host only a port is allowed: no user before it, no ":x".
    let port = authority.port_u16().map_or(String::new(), |port| format!(":{port}"));
    match authority.host().is_empty()
        || *authority.as_str() != format!("{}{port}", authority.host())
    {
        true => Err(wrong()),
        false => Ok(authority),
    }
}

fn headers(written: &[(String, String)]) -> Result<HeaderMap, BackendError> {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        let wrong = |why| BackendError::Header(name.clone(), why);
        let parsed: HeaderName = name.parse().map_err(|_| wrong("not the name of a header"))?;
        if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| parsed == *reserved) {
            return Err(wrong(why));
        }
        if parsed.as_str().starts_with("groupcast-") {
            return Err(wrong("names with the prefix Groupcast- are reserved"));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| wrong("its value has characters other than visible ASCII"))?;
        headers.insert(parsed, value);
    }
    Ok(headers)
}

/// The innermost cause, which is the specific one: "connection refused".
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    excerpt(&innermost.to_string(), MAX_CAUSE)
}

/// The `Host` of requests without a browser's.
pub(super) fn host(settings: &Settings, client: &Client) -> HeaderValue {
    let host = match settings.host.as_str() {
        "" => client.authority(),
        host => host,
    };
    HeaderValue::from_str(host).expect("an authority is legal in a header")
}

/// A head with this `Host`.
pub(super) fn head(host: &HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, host.clone());
    headers
}
