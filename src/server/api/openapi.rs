//! The API's description of itself, served at `/openapi.json` and held to the code by tests.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Header, Ref, RefOr};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi, ToSchema};

use super::{batch, close, look, members, send};
use crate::server::problem::{Kind, MEDIA_TYPE, ProblemBody};

/// Name of a group.
#[derive(ToSchema)]
#[schema(pattern = "^[A-Za-z0-9_.-]{1,99}$", example = "pedido.42")]
pub(super) struct GroupName(#[allow(dead_code, reason = "a schema only")] String);

/// The `sub` of a user: 1 to 255 bytes of UTF-8 without control characters.
#[derive(ToSchema)]
#[schema(pattern = r"^([ -~]{1,255}|[^\u0000-\u001f\u007f-\u009f]{1,63})$", example = "7")]
pub(super) struct Sub(#[allow(dead_code, reason = "a schema only")] String);

/// Id of a connection, as `welcome` and the reports give it.
#[derive(ToSchema)]
#[schema(pattern = "^[a-z2-7]{8}-[1-9][0-9]{0,18}$", example = "k3f5a2bq-17")]
pub(super) struct ConnectionId(#[allow(dead_code, reason = "a schema only")] String);

/// A connection by its id, or a user written `user:<sub>`. The prefix decides: a `sub` that looks
/// like a connection's id is a user all the same.
#[derive(ToSchema)]
#[schema(
    pattern = r"^(user:([ -~]{1,255}|[^\u0000-\u001f\u007f-\u009f]{1,63})|[a-z2-7]{8}-[1-9][0-9]{0,18})$",
    example = "user:7"
)]
pub(super) struct Member(#[allow(dead_code, reason = "a schema only")] String);

/// An event: a JSON object with a string `type`, without duplicate keys, nested at most 32 deep.
#[derive(ToSchema)]
#[schema(example = json!({"type": "imagen_procesada", "imagen_id": 42}))]
pub(super) struct Event {
    /// What kind of event it is, 1 to 128 bytes; the rest is the application's.
    #[schema(pattern = r"^([ -~]{1,128}|[\s\S]{1,32})$")]
    #[allow(dead_code, reason = "a schema only")]
    r#type: String,
}

/// What a publication can be told beside its event.
pub(super) struct Send;

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct SendQuery {
    /// Milliseconds from now after which it is not delivered any more.
    #[param(minimum = 1, maximum = 86_400_000, nullable = false)]
    #[allow(dead_code, reason = "a schema only")]
    expiry_ms: Option<u64>,
    /// Who is left out, once for each: `except=k3f5a2bq-17&except=user:7`.
    #[param(max_items = 100, nullable = false, value_type = Option<Vec<Member>>)]
    #[allow(dead_code, reason = "a schema only")]
    except: Option<Vec<String>>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct KeyHeader {
    /// Makes a repetition harmless for as long as the key is remembered: the same key gets the
    /// first answer, with `idempotency-replayed: true`, and nothing is sent.
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

/// What the end of connections can be told.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Close {
    /// The close code, which says whether clients come back by themselves: 4503 does, after asking
    /// anew who they are; 4401 with a fresh token only; 4403, the default, and 4409 do not.
    #[param(pattern = "^(4401|4403|4409|4503)$", nullable = false, value_type = Option<String>)]
    #[allow(dead_code, reason = "a schema only")]
    code: Option<u16>,
}

/// What the end of a user's connections can be told.
pub(super) struct CloseUser;

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct SessionQuery {
    /// Only the connections of this session, as the back end called it when it was asked who that is.
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

/// What looking can be answered with, beside success.
pub(super) struct LookRefusals;
/// What changing a membership can be answered with, beside success.
pub(super) struct ChangeRefusals;
/// What closing can be answered with, beside success.
pub(super) struct CloseRefusals;
/// What sending one event can be answered with, beside success.
pub(super) struct SendRefusals;
/// What sending a batch can be answered with, beside success.
pub(super) struct BatchRefusals;

/// Every endpoint can answer these.
const ALWAYS: &[Kind] = &[
    Kind::BadPath,
    Kind::KeyMissing,
    Kind::KeyUnknown,
    Kind::Forbidden,
    Kind::NotFound,
    Kind::MethodNotAllowed,
    Kind::Timeout,
    Kind::BadGroup,
    Kind::BadMember,
    Kind::Internal,
    Kind::Busy,
];

/// Every endpoint that publishes can answer these, too.
const PUBLISHING: &[Kind] = &[
    Kind::BadHeader,
    Kind::BadBody,
    Kind::TooLarge,
    Kind::NotJson,
    Kind::BadKey,
    Kind::KeyReused,
    Kind::LayerUnreachable,
];

impl IntoResponses for LookRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(ALWAYS)
    }
}

impl IntoResponses for ChangeRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[ALWAYS, &[Kind::LayerUnreachable]].concat())
    }
}

impl IntoResponses for CloseRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[ALWAYS, &[Kind::BadQuery, Kind::LayerUnreachable]].concat())
    }
}

impl IntoResponses for SendRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[ALWAYS, PUBLISHING, &[Kind::BadQuery, Kind::BadEvent]].concat())
    }
}

impl IntoResponses for BatchRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[ALWAYS, PUBLISHING, &[Kind::BadEvent, Kind::BadBatch]].concat())
    }
}

/// One response for each status, naming its codes.
fn described(kinds: &[Kind]) -> BTreeMap<String, RefOr<Response>> {
    let mut codes: BTreeMap<StatusCode, Vec<String>> = BTreeMap::new();
    for kind in kinds {
        let words = format!("`{}`: {}.", kind.code(), kind.title());
        codes.entry(kind.status()).or_default().push(words);
    }
    let response = |(status, words): (StatusCode, Vec<String>)| {
        let schema = Ref::from_schema_name(ProblemBody::name());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response =
            ResponseBuilder::new().description(words.join(" ")).content(MEDIA_TYPE, content);
        let response = match status {
            StatusCode::UNAUTHORIZED => response.header("WWW-Authenticate", Header::default()),
            StatusCode::METHOD_NOT_ALLOWED => response.header("Allow", Header::default()),
            StatusCode::SERVICE_UNAVAILABLE => response.header("Retry-After", Header::default()),
            _ => response,
        };
        (status.as_str().to_owned(), response.build().into())
    };
    codes.into_iter().map(response).collect()
}

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key of the gateway's configuration."))
            .build();
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Groupcast", description = "Send events to browsers, and see where they went."),
    paths(
        send::to_group, send::to_user, send::to_connection, send::to_all, batch::send,
        members::add, members::remove, close::user_connections, close::connection, look::at_group, look::at_user, document,
    ),
    components(schemas(ProblemBody)),
    modifiers(&Bearer),
    security(("key" = [])),
)]
pub(super) struct Document;

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "look", operation_id = "openapi", security(()),
    responses((status = 200, description = "An OpenAPI document.", body = Object)),
)]
pub(super) async fn document() -> impl IntoResponse {
    static JSON: LazyLock<Bytes> = LazyLock::new(|| {
        let json = Document::openapi().to_json().expect("the document is made of JSON values");
        Bytes::from(json)
    });
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], JSON.clone())
}
