//! Schemas, parameters and error responses, as the OpenAPI document describes them.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{ContentBuilder, Header, Ref, RefOr};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use crate::http::{MEDIA_TYPE, ProblemBody, ProblemKind};

/// Name of a group; not of dots alone.
#[derive(ToSchema)]
#[schema(pattern = r"^(?!\.+$)[A-Za-z0-9_.-]{1,99}$", example = "order.42")]
pub(super) struct GroupName(#[allow(dead_code, reason = "a schema only")] String);

/// The `sub` of a user: 1 to 255 bytes of UTF-8 without control characters, not of dots alone.
#[derive(ToSchema)]
#[schema(pattern = r"^(?!\.+$)([ -~]{1,255}|[^\u0000-\u001f\u007f-\u009f]{1,63})$", example = "7")]
pub(super) struct Sub(#[allow(dead_code, reason = "a schema only")] String);

/// Id of a connection, as `welcome` and the reports give it.
#[derive(ToSchema)]
#[schema(pattern = "^[a-z2-7]{8}-[1-9][0-9]{0,18}$", example = "k3f5a2bq-17")]
pub(super) struct ConnectionId(#[allow(dead_code, reason = "a schema only")] String);

/// Id of a task of Celery.
#[derive(ToSchema)]
#[schema(pattern = "^[!-~]{1,99}$", example = "d0f2a6c4-8a0e-4e0c-9a55-1d9b2f6f7c11")]
pub(super) struct TaskId(#[allow(dead_code, reason = "a schema only")] String);

/// A connection by its id, or a user written `user:<sub>`. The prefix decides: a `sub` that looks
/// like a connection's id is still a user.
#[derive(ToSchema)]
#[schema(
    pattern = "^(user:(?!\\.+$)([ -~]{1,255}|[^\\u0000-\\u001f\\u007f-\\u009f]{1,63})\
               |[a-z2-7]{8}-[1-9][0-9]{0,18})$",
    example = "user:7"
)]
pub(super) struct Member(#[allow(dead_code, reason = "a schema only")] String);

/// An event: a JSON object with a string `type`, without duplicate keys, nested at most 32 deep.
#[derive(ToSchema)]
#[schema(example = json!({"type": "image_processed", "image_id": 42}))]
pub(super) struct Event {
    /// The kind of event, 1 to 128 bytes; the rest belongs to the application.
    #[schema(pattern = r"^([ -~]{1,128}|[\s\S]{1,32})$")]
    #[allow(dead_code, reason = "a schema only")]
    r#type: String,
}

/// Parameters of a publication.
pub(super) struct Send;

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct SendQuery {
    /// Milliseconds after which it is no longer delivered.
    #[param(minimum = 1, maximum = 86_400_000, nullable = false)]
    #[allow(dead_code, reason = "a schema only")]
    expiry_ms: Option<u64>,
    /// Who does not receive it; may be repeated: `except=k3f5a2bq-17&except=user:7`.
    #[param(max_items = 100, nullable = false, value_type = Option<Vec<Member>>)]
    #[allow(dead_code, reason = "a schema only")]
    except: Option<Vec<String>>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct KeyHeader {
    /// Makes repeating the request safe while the key is remembered, at any instance: the same key
    /// for the same target gets the first response, with `idempotency-replayed: true`, and nothing
    /// is sent.
    #[param(
        rename = "Idempotency-Key", pattern = "^[!-~]{1,255}$", nullable = false,
        value_type = Option<String>
    )]
    #[allow(dead_code, reason = "a schema only")]
    key: Option<String>,
}

impl IntoParams for Send {
    fn into_params(
        _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
    ) -> Vec<utoipa::openapi::path::Parameter> {
        let mut params = SendQuery::into_params(|| None);
        params.extend(KeyHeader::into_params(|| None));
        params
    }
}

/// Parameters of closing connections.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Close {
    /// The close code, which decides whether clients reconnect automatically: after 4503 they do,
    /// and are authenticated again; after 4401 only with a new token; after 4403, the default, and
    /// 4409 they do not.
    #[param(pattern = "^(4401|4403|4409|4503)$", nullable = false, value_type = Option<String>)]
    #[allow(dead_code, reason = "a schema only")]
    code: Option<u16>,
}

/// Parameters of closing a user's connections.
pub(super) struct CloseUser;

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct SessionQuery {
    /// Only the connections of this session, by the name that the connect hook gave it.
    #[param(
        pattern = r"^([ -~]{1,128}|[^\u0000-\u001f\u007f-\u009f]{1,32})$",
        nullable = false, value_type = Option<String>
    )]
    #[allow(dead_code, reason = "a schema only")]
    session: Option<String>,
}

impl IntoParams for CloseUser {
    fn into_params(
        _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
    ) -> Vec<utoipa::openapi::path::Parameter> {
        let mut params = Close::into_params(|| None);
        params.extend(SessionQuery::into_params(|| None));
        params
    }
}

/// Error responses of reports.
pub(super) struct ReportRefusals;
/// Error responses of the console's data.
pub(super) struct ConsoleRefusals;
/// Error responses of membership changes.
pub(super) struct ChangeRefusals;
/// Error responses of closing.
pub(super) struct CloseRefusals;
/// Error responses of what is done with tasks.
pub(super) struct TaskRefusals;
/// Error responses of sending one event.
pub(super) struct SendRefusals;
/// Error responses of a broadcast.
pub(super) struct BroadcastRefusals;
/// Error responses of sending a batch.
pub(super) struct BatchRefusals;

/// Errors of every endpoint.
const ALWAYS: &[ProblemKind] = &[
    ProblemKind::BadPath,
    ProblemKind::KeyMissing,
    ProblemKind::KeyUnknown,
    ProblemKind::Forbidden,
    ProblemKind::NotFound,
    ProblemKind::MethodNotAllowed,
    ProblemKind::Timeout,
    ProblemKind::BadGroup,
    ProblemKind::BadMember,
    ProblemKind::Internal,
    ProblemKind::Busy,
];

/// Further errors of every endpoint that publishes.
const PUBLISHING: &[ProblemKind] = &[
    ProblemKind::BadHeader,
    ProblemKind::BadBody,
    ProblemKind::TooLarge,
    ProblemKind::NotJson,
    ProblemKind::BadKey,
    ProblemKind::KeyReused,
    ProblemKind::TooManyKeys,
    ProblemKind::LayerUnreachable,
];

impl IntoResponses for ReportRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(ALWAYS)
    }
}

impl IntoResponses for ConsoleRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[ALWAYS, &[ProblemKind::BadQuery, ProblemKind::TooManyGuesses]].concat())
    }
}

impl IntoResponses for ChangeRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[ALWAYS, &[ProblemKind::LayerUnreachable]].concat())
    }
}

impl IntoResponses for CloseRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[ALWAYS, &[ProblemKind::BadQuery, ProblemKind::LayerUnreachable]].concat())
    }
}

impl IntoResponses for TaskRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[ALWAYS, &[ProblemKind::BadQuery, ProblemKind::BrokerUnreachable]].concat())
    }
}

impl IntoResponses for SendRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[ALWAYS, PUBLISHING, &[ProblemKind::BadQuery, ProblemKind::BadEvent]].concat())
    }
}

impl IntoResponses for BroadcastRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = [ProblemKind::BadQuery, ProblemKind::BadEvent, ProblemKind::BadBroadcast];
        described(&[ALWAYS, PUBLISHING, &own].concat())
    }
}

impl IntoResponses for BatchRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[ALWAYS, PUBLISHING, &[ProblemKind::BadEvent, ProblemKind::BadBatch]].concat())
    }
}

/// One response per status, naming its codes.
fn described(kinds: &[ProblemKind]) -> BTreeMap<String, RefOr<Response>> {
    let mut codes: BTreeMap<StatusCode, Vec<String>> = BTreeMap::new();
    for kind in kinds {
        let text = format!("`{}`: {}.", kind.code(), kind.title());
        codes.entry(kind.status()).or_default().push(text);
    }
    let response = |(status, texts): (StatusCode, Vec<String>)| {
        let schema = Ref::from_schema_name(ProblemBody::name());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response =
            ResponseBuilder::new().description(texts.join(" ")).content(MEDIA_TYPE, content);
        let response = match status {
            StatusCode::UNAUTHORIZED => response.header("WWW-Authenticate", Header::default()),
            StatusCode::METHOD_NOT_ALLOWED => response.header("Allow", Header::default()),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                response.header("Retry-After", Header::default())
            }
            _ => response,
        };
        (status.as_str().to_owned(), response.build().into())
    };
    codes.into_iter().map(response).collect()
}
