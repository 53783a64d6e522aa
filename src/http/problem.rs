//! HTTP errors as problem details (RFC 9457), with statuses, codes and titles.

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The media type of every refusal.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Seconds after which a temporary refusal should be retried: the shortest that the header can
/// express, since queues have room again within milliseconds.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// A problem: its kind and its detail.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    kind: ProblemKind,
    detail: Cow<'static, str>,
}

/// The body of a problem.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// `urn:problem-type:groupcast:` and the code.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    uri: TypeUri<'a>,
    /// The kind of problem, for people.
    title: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What was wrong, the value, what is allowed.
    detail: &'a str,
    /// The kind of problem, for programs.
    code: &'a str,
}

#[derive(Debug)]
struct TypeUri<'a>(&'a str);

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $status:ident $code:literal $title:literal;)+) => {
        /// The kinds of problems.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum ProblemKind { $($(#[$doc])* $kind,)+ }

        impl ProblemKind {
            /// Every kind: each must be in the API's description.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// The HTTP status.
            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)+ }
            }

            /// Its name for programs; never changes.
            pub(crate) const fn code(self) -> &'static str {
                match self { $(Self::$kind => $code,)+ }
            }

            /// Its name for people.
            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)+ }
            }
        }
    };
}

kinds! {
    /// The path's percent-encoding is broken.
    BadPath = BAD_REQUEST "bad_path" "Malformed path";
    /// The endpoint does not know the query's parameters or values.
    BadQuery = BAD_REQUEST "bad_query" "Invalid query";
    /// A header has an invalid value.
    BadHeader = BAD_REQUEST "bad_header" "Invalid header";
    /// The connection failed in the middle of the body.
    BadBody = BAD_REQUEST "bad_body" "Incomplete body";
    /// The request has no API key.
    KeyMissing = UNAUTHORIZED "key_missing" "API key required";
    /// The API key is not configured.
    KeyUnknown = UNAUTHORIZED "key_unknown" "Unknown API key";
    /// The API key lacks the right.
    Forbidden = FORBIDDEN "forbidden" "Not allowed for this API key";
    /// Too many wrong keys came from the address.
    TooManyGuesses = TOO_MANY_REQUESTS "too_many_guesses" "Too many wrong keys";
    /// The path is not served.
    NotFound = NOT_FOUND "not_found" "Not found";
    /// Plain HTTP on a WebSocket path.
    UpgradeRequired = UPGRADE_REQUIRED "upgrade_required" "WebSocket required";
    /// The opening handshake violates RFC 6455.
    BadHandshake = BAD_REQUEST "bad_handshake" "Invalid WebSocket handshake";
    /// The path exists, with other methods.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed" "Method not allowed";
    /// The body did not arrive in time.
    Timeout = REQUEST_TIMEOUT "timeout" "Request timed out";
    /// Event or batch exceed their limit.
    TooLarge = PAYLOAD_TOO_LARGE "too_large" "Body too large";
    /// The body is declared as something other than JSON.
    NotJson = UNSUPPORTED_MEDIA_TYPE "not_json" "JSON required";
    /// Illegal group name.
    BadGroup = UNPROCESSABLE_ENTITY "bad_group" "Invalid group name";
    /// Illegal user or connection id.
    BadMember = UNPROCESSABLE_ENTITY "bad_member" "Invalid user or connection";
    /// The body is not an event.
    BadEvent = UNPROCESSABLE_ENTITY "bad_event" "Invalid event";
    /// The body is not a batch.
    BadBatch = UNPROCESSABLE_ENTITY "bad_batch" "Invalid batch";
    /// The body is not a broadcast.
    BadBroadcast = UNPROCESSABLE_ENTITY "bad_broadcast" "Invalid broadcast";
    /// Illegal idempotency key.
    BadKey = UNPROCESSABLE_ENTITY "bad_idempotency_key" "Invalid idempotency key";
    /// The idempotency key belongs to another publication.
    KeyReused = UNPROCESSABLE_ENTITY "idempotency_key_reused" "Idempotency key already used";
    /// The API key has used as many idempotency keys as are remembered.
    TooManyKeys = TOO_MANY_REQUESTS "too_many_idempotency_keys" "Too many idempotency keys";
    /// A bug in the gateway.
    Internal = INTERNAL_SERVER_ERROR "internal" "Internal error";
    /// A queue or limit is full.
    Busy = SERVICE_UNAVAILABLE "busy" "Too busy";
    /// The layer is unavailable.
    LayerUnreachable = SERVICE_UNAVAILABLE "layer_unreachable" "Channel layer unavailable";
    /// Celery's broker is unavailable.
    BrokerUnreachable = SERVICE_UNAVAILABLE "broker_unreachable" "Celery's broker unavailable";
}

impl ProblemKind {
    /// A problem of this kind; `detail` names what was wrong and what is allowed.
    pub(crate) fn because(self, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem { kind: self, detail: detail.into() }
    }
}

impl Problem {
    /// What kind it is.
    pub(crate) fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The body of the response.
    pub(crate) fn body(&self) -> ProblemBody<'_> {
        ProblemBody {
            uri: TypeUri(self.kind.code()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            code: self.kind.code(),
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.body().serialize(serializer)
    }
}

impl Serialize for TypeUri<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("urn:problem-type:groupcast:{}", self.0))
    }
}

impl IntoResponse for Problem {
    /// The response also has the [`ProblemKind`] as an extension, so that the log can name the
    /// cause without anything of the request.
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("texts and a number always become JSON");
        let mut response = (self.kind.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        match self.kind {
            ProblemKind::KeyMissing => {
                let challenge = HeaderValue::from_static(r#"Bearer realm="groupcast""#);
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            ProblemKind::KeyUnknown => {
                let challenge = r#"Bearer realm="groupcast", error="invalid_token""#;
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            ProblemKind::Busy
            | ProblemKind::LayerUnreachable
            | ProblemKind::BrokerUnreachable
            | ProblemKind::TooManyGuesses
            | ProblemKind::TooManyKeys => {
                headers.insert(RETRY_AFTER, RETRY_SECONDS);
            }
            _ => {}
        }
        response.extensions_mut().insert(self.kind);
        response
    }
}
