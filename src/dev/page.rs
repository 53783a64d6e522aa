//! The page with which a developer sends and receives events.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::session::Session;
use crate::event::{Event, Target};
use crate::group::GroupName;
use crate::http::{Problem, ProblemKind, file};
use crate::publish::{PublishRequest, Publisher};
use crate::server::check_origin;

const PAGE: &[u8] = include_bytes!("page/index.html");
const SCRIPT: &[u8] = include_bytes!("page/page.js");
const STYLE: &[u8] = include_bytes!("page/page.css");

struct Page {
    session: Value,
    publisher: Arc<Publisher>,
}

/// The page's files, what it asks for, and its form.
pub(super) fn router(session: &Session, publisher: Arc<Publisher>, api: SocketAddr) -> Router {
    let page = Arc::new(Page { session: describe(session, api), publisher });
    let described = get(async |State(page): State<Arc<Page>>| axum::Json(page.session.clone()));
    Router::new()
        .route("/", file(PAGE, "text/html", "no-cache"))
        .route("/page.js", file(SCRIPT, "text/javascript", "no-cache"))
        .route("/page.css", file(STYLE, "text/css", "no-cache"))
        .route("/dev/session", described)
        .route("/dev/send/{group}", post(send))
        .with_state(page)
}

fn describe(session: &Session, api: SocketAddr) -> Value {
    let curl = format!(
        "curl http://{api}/groups/{}/send -H 'Authorization: Bearer {}' \
         -H 'Content-Type: application/json' -d '{{\"type\":\"aviso\",\"texto\":\"hola\"}}'",
        session.group, session.api_key
    );
    json!({
        "url": session.path,
        "token": session.token,
        "sub": session.sub,
        "group": session.group,
        "api": format!("http://{api}"),
        "key": session.api_key,
        "curl": curl,
    })
}

/// The page's form: publishes as the API does, for pages of this origin alone.
async fn send(
    State(page): State<Arc<Page>>,
    Path(group): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    if check_origin(&headers, &[]).is_err() {
        return Err(ProblemKind::Forbidden.because("the form serves its own page only"));
    }
    let (group, event) = (GroupName::parse(&group)?, Event::parse(body)?);
    let receipt = page.publisher.publish(Target::Group(group), PublishRequest::new(event)).await?;
    let answer = axum::Json(json!({ "id": receipt.id.to_string() }));
    Ok((StatusCode::ACCEPTED, answer).into_response())
}
