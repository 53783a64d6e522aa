//! Every HTTP refusal of the API: status beside its words, as problem details (RFC 9457).

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::event::{EventError, IdError};
use crate::group::NameError;
use crate::publish::{KeyError, PublishError};

/// The media type of every refusal.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Seconds after which a refusal that passes by itself is worth another try. The shortest that the
/// header can say: room in an inbox comes back within milliseconds.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// One refusal: its kind, and the words for this case.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
}

/// A problem as it is written.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// `urn:problem-type:groupcast:` and the code.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    uri: TypeUri<'a>,
    /// What kind of problem it is, for people; the same for every case.
    title: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What was wrong this time, which value, what is allowed.
    detail: &'a str,
    /// What kind of problem it is, for programs.
    code: &'a str,
}

#[derive(Debug)]
struct TypeUri<'a>(&'a str);

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $status:ident $code:literal $title:literal;)+) => {
        /// A kind of refusal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $kind,)+ }

        impl Kind {
            /// Every kind, for the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// The status that it is answered with.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)+ }
            }

            /// Its name for programs; never changes.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$kind => $code,)+ }
            }

            /// Its name for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)+ }
            }
        }
    };
}

kinds! {
    /// The path's percent-encoding is broken.
    BadPath = BAD_REQUEST "bad_path" "The path cannot be read";
    /// The query is not one that the endpoint knows.
    BadQuery = BAD_REQUEST "bad_query" "The query cannot be used";
    /// A header cannot be used.
    BadHeader = BAD_REQUEST "bad_header" "A header cannot be used";
    /// The body broke off.
    BadBody = BAD_REQUEST "bad_body" "The body cannot be read";
    /// No key came.
    KeyMissing = UNAUTHORIZED "key_missing" "An API key is needed";
    /// A key came that nobody has.
    KeyUnknown = UNAUTHORIZED "key_unknown" "The API key is not known";
    /// The key's owner may not do this.
    Forbidden = FORBIDDEN "forbidden" "The API key may not do this";
    /// There is no such path.
    NotFound = NOT_FOUND "not_found" "There is nothing at this path";
    /// A WebSocket path was asked for something else.
    UpgradeRequired = UPGRADE_REQUIRED "upgrade_required" "This address is for WebSockets";
    /// The request for a WebSocket is not one by RFC 6455.
    BadHandshake = BAD_REQUEST "bad_handshake" "The WebSocket handshake is not valid";
    /// The path exists, with other methods.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed" "The path has other methods";
    /// The request took too long.
    Timeout = REQUEST_TIMEOUT "timeout" "The request took too long";
    /// Event or batch are over their bound.
    TooLarge = PAYLOAD_TOO_LARGE "too_large" "The body is too large";
    /// The body is declared as something else than JSON.
    NotJson = UNSUPPORTED_MEDIA_TYPE "not_json" "The body is not declared as JSON";
    /// No group can have this name.
    BadGroup = UNPROCESSABLE_ENTITY "bad_group" "The group name is not legal";
    /// No user or connection can be called this.
    BadMember = UNPROCESSABLE_ENTITY "bad_member" "The user or connection is not legal";
    /// The body is no event.
    BadEvent = UNPROCESSABLE_ENTITY "bad_event" "The event cannot be used";
    /// The body is no batch.
    BadBatch = UNPROCESSABLE_ENTITY "bad_batch" "The batch cannot be used";
    /// The idempotency key cannot be one.
    BadKey = UNPROCESSABLE_ENTITY "bad_idempotency_key" "The idempotency key cannot be used";
    /// The idempotency key stands for another publication.
    KeyReused = UNPROCESSABLE_ENTITY "idempotency_key_reused" "The idempotency key is taken";
    /// A fault of the gateway.
    Internal = INTERNAL_SERVER_ERROR "internal" "The gateway made a mistake";
    /// No room now.
    Busy = SERVICE_UNAVAILABLE "busy" "There is no room at the moment";
    /// The layer cannot be reached now.
    LayerUnreachable = SERVICE_UNAVAILABLE "layer_unreachable" "The channel layer cannot be reached";
}

impl Kind {
    /// This kind of problem, with the words for the case.
    pub fn because(self, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem { kind: self, detail: detail.into() }
    }
}

impl Problem {
    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The problem as it is written.
    pub fn body(&self) -> ProblemBody<'_> {
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
    /// The response also carries the [`Kind`] as an extension, so that the log can name the cause
    /// and nothing of the request.
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("texts and a number always become JSON");
        let mut response = (self.kind.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        match self.kind {
            Kind::KeyMissing => {
                let challenge = HeaderValue::from_static(r#"Bearer realm="groupcast""#);
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            Kind::KeyUnknown => {
                let challenge = r#"Bearer realm="groupcast", error="invalid_token""#;
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            Kind::Busy | Kind::LayerUnreachable => {
                headers.insert(RETRY_AFTER, RETRY_SECONDS);
            }
            _ => {}
        }
        response.extensions_mut().insert(self.kind);
        response
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Kind::BadGroup.because(error.to_string())
    }
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        Kind::BadEvent.because(error.to_string())
    }
}

impl From<IdError> for Problem {
    fn from(error: IdError) -> Self {
        Kind::BadMember.because(error.to_string())
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        Kind::BadKey.because(error.to_string())
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let kind = match error {
            PublishError::TooLarge { .. } => Kind::TooLarge,
            PublishError::KeyReused(_) => Kind::KeyReused,
            PublishError::Busy(_) => Kind::Busy,
            PublishError::Layer(_) => Kind::LayerUnreachable,
        };
        kind.because(error.to_string())
    }
}
