//! The OpenAPI document served at `/openapi.json`; tests compare it with the routes and answers.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{batch, broadcast, close, console, members, reports, send, tasks};
use crate::http::ProblemBody;

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
    info(
        title = "Groupcast",
        description = "Send events to browsers, and see what became of them.",
    ),
    paths(
        send::to_group, send::to_user, send::to_connection, broadcast::broadcast, batch::send,
        members::add, members::remove, close::user_connections, close::connection, reports::group,
        reports::user, document, console::snapshot, console::stream, console::groups,
        console::connections, console::log, console::why, console::tap,
        console::sources, console::tasks, tasks::revoke, tasks::retry,
    ),
    components(schemas(ProblemBody)),
    modifiers(&Bearer),
    security(("key" = [])),
)]
pub(super) struct Document;

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "report", operation_id = "openapi", security(()),
    responses((status = 200, description = "An OpenAPI document.", body = Object)),
)]
pub(super) async fn document() -> impl IntoResponse {
    static JSON: LazyLock<Bytes> = LazyLock::new(|| {
        let json = Document::openapi().to_json().expect("the document is made of JSON values");
        Bytes::from(json)
    });
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], JSON.clone())
}
