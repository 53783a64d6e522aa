//! One request to the back end and its answer: signed, bounded in time and size, never redirected.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::sign::{SIGNATURE, Signed, Signer};
use super::{BackendError, Settings};

/// Largest body of an answer, bytes.
pub(super) const MAX_ANSWER: usize = 64 * 1024;

/// Longest head of an answer, bytes, and most lines in it.
const MAX_HEAD: usize = 32 * 1024;
const MAX_HEADERS: usize = 100;

/// How long a connection may rest before the next request takes another. gunicorn closes after 2 s
/// by default: a request that meets the closing half-way could not be told from one that was served.
const REST: Duration = Duration::from_secs(1);

/// Longest text of a cause from outside that is kept for logs, characters.
const EXCERPT: usize = 200;

/// Headers that a configuration may not set, and why.
const RESERVED: [(&str, &str); 7] = [
    ("host", "hooks carry the browser's, calls backend.host"),
    ("content-length", "it is the body's"),
    ("content-type", "bodies are JSON"),
    ("transfer-encoding", "bodies are sent whole"),
    ("connection", "connections are the gateway's own"),
    ("upgrade", "nothing is upgraded"),
    ("idempotency-key", "it is the client's"),
];

/// Asks the back end. Connections are kept and shared.
#[derive(Debug)]
pub struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    authority: Authority,
    signer: Signer,
    headers: HeaderMap,
    timeout: Duration,
}

/// What is asked, before it is signed.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What the back end said, whatever it is.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Where it would have the request go.
    pub location: Option<String>,
    /// Whether it calls its body JSON.
    pub json: bool,
    /// The body, at most 64 KiB.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The request was never sent.
    #[error("no connection to {authority}: {cause}")]
    Connect {
        /// Where to.
        authority: String,
        /// What the system says.
        cause: String,
    },
    /// The connection ended under the request: whether it was served is not known.
    #[error("the connection to {authority} ended before the answer: {cause}")]
    Broken {
        /// Where to.
        authority: String,
        /// What happened.
        cause: String,
    },
    /// No whole answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// A body over 64 KiB.
    #[error("the answer's body is over {MAX_ANSWER} bytes")]
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
            .pool_idle_timeout(REST)
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

    /// Where the back end is, `host:port`.
    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Asks once. Statuses are answers, whatever they say; redirects are not followed.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, AskError> {
        let exchange = self.exchange(self.request(ask));
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::Timeout(self.timeout)),
        }
    }

    fn request(&self, ask: Ask<'_>) -> Request<Full<Bytes>> {
        let Ask { method, target, headers, body } = ask;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let path = headers.get(super::PATH).map(HeaderValue::as_bytes).unwrap_or_default();
        let method_name = method.as_str();
        let signature =
            self.signer.sign(&Signed { time, method: method_name, target, path, body: &body });
        let signature = HeaderValue::try_from(signature).expect("a key id is legal in a header");
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = format!("http://{}{target}", self.authority)
            .parse()
            .expect("path and query were checked when they were made");
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        request.headers_mut().insert(SIGNATURE, signature);
        request
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, AskError> {
        let response = self.http.request(request).await.map_err(|error| {
            let (authority, cause) = (self.authority.to_string(), cause(&error));
            match error.is_connect() {
                true => AskError::Connect { authority, cause },
                false => AskError::Broken { authority, cause },
            }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return AskError::TooLarge;
            }
            AskError::Broken { authority: self.authority.to_string(), cause: cause(&*error) }
        })?;
        let text = |name: HeaderName| {
            let value = head.headers.get(name)?;
            Some(
                String::from_utf8_lossy(value.as_bytes()).chars().take(EXCERPT).collect::<String>(),
            )
        };
        let json = text(CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        });
        Ok(Answer { status: head.status, location: text(LOCATION), json, body: body.to_bytes() })
    }
}

fn authority(url: &str) -> Result<Authority, BackendError> {
    let wrong = || BackendError::Url(url.to_owned());
    let named = url.strip_prefix("http://").ok_or_else(wrong)?;
    let authority: Authority =
        named.strip_suffix('/').unwrap_or(named).parse().map_err(|_| wrong())?;
    // What stands behind the host is a port or nothing: no user before it, no ":x".
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
        let parsed: HeaderName = name.parse().map_err(|_| wrong("it is no header's name"))?;
        if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| parsed == *reserved) {
            return Err(wrong(why));
        }
        if parsed.as_str().starts_with("groupcast-") {
            return Err(wrong("names that begin with Groupcast- are the gateway's"));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| wrong("its value is not of visible ASCII characters"))?;
        headers.insert(parsed, value);
    }
    Ok(headers)
}

/// The innermost cause, which alone says something: "connection refused".
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().chars().take(EXCERPT).collect()
}

/// `Host` as it is sent where no browser's is.
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
