//! The end of connections from outside: who logged out, or may not see any more what they see.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};

use super::Api;
use super::openapi::{Close, CloseRefusals};
use super::request::{Params, user};
use crate::event::{Control, Member};
use crate::identity::Right;
use crate::protocol::Disconnect;
use crate::server::problem::{Kind, Problem};

/// What a back end can mean by an end. The first is meant where nothing is said.
pub(super) const CODES: [Disconnect; 4] = [
    Disconnect::FORBIDDEN,
    Disconnect::UNAUTHORIZED,
    Disconnect::REPLACED,
    Disconnect::UNAVAILABLE,
];

/// Closes all present connections of a user.
///
/// Sent to every instance: 202 says that it is on its way, not that there was such a connection.
#[utoipa::path(
    post, path = "/users/{sub}/close", tag = "close", operation_id = "closeUser",
    params(("sub" = inline(super::openapi::Sub), Path, description = "The user."), Close),
    responses((status = 202, description = "On its way."), CloseRefusals),
)]
pub(super) async fn user_connections(
    State(api): State<Arc<Api>>,
    Params(sub): Params<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    api.caller(&headers)?.needs_at_all(Right::Close)?;
    let member = Member::User(user(&sub)?);
    close(&api, member, query).await
}

/// Closes one connection.
///
/// Sent to the instance that holds it: 202 says that it is on its way, not that it existed.
#[utoipa::path(
    post, path = "/connections/{id}/close", tag = "close", operation_id = "closeConnection",
    params(
        ("id" = inline(super::openapi::ConnectionId), Path, description = "The connection."),
        Close,
    ),
    responses((status = 202, description = "On its way."), CloseRefusals),
)]
pub(super) async fn connection(
    State(api): State<Arc<Api>>,
    Params(id): Params<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    api.caller(&headers)?.needs_at_all(Right::Close)?;
    close(&api, Member::Connection(id.parse()?), query).await
}

async fn close(api: &Api, member: Member, query: Option<String>) -> Result<StatusCode, Problem> {
    let code = code(query.as_deref().unwrap_or_default())?;
    api.door.change(Control::Close(member, code)).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Reads `code=<number>`. Anything else is refused: a misspelt parameter must not mean the default.
fn code(query: &str) -> Result<u16, Problem> {
    let [default, ..] = CODES;
    if query.is_empty() {
        return Ok(default.code);
    }
    let asked = query.strip_prefix("code=").and_then(|text| text.parse().ok());
    let known = asked.filter(|code| CODES.iter().any(|known| known.code == *code));
    known.ok_or_else(|| {
        let codes = CODES.map(|known| known.code.to_string()).join(", ");
        Kind::BadQuery.because(format!("the query can be code= and one of {codes}"))
    })
}
