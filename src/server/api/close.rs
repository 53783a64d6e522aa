//! The end of connections from outside: who logged out, or may not see any more what they see.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};

use super::Api;
use super::openapi::{Close, CloseRefusals, CloseUser};
use super::request::{Params, decode, user};
use crate::event::{Control, Member};
use crate::identity::{MAX_SESSION_LEN, Right};
use crate::protocol::Disconnect;
use crate::server::problem::{Kind, Problem};

/// What a back end can mean by an end. The first is meant where nothing is said.
const ENDS: [Disconnect; 4] = [
    Disconnect::FORBIDDEN,
    Disconnect::UNAUTHORIZED,
    Disconnect::REPLACED,
    Disconnect::UNAVAILABLE,
];

/// Closes the present connections of a user, all or those of one session.
///
/// Sent to every instance: 202 says that it is on its way, not that there was such a connection.
#[utoipa::path(
    post, path = "/users/{sub}/close", tag = "close", operation_id = "closeUser",
    params(("sub" = inline(super::openapi::Sub), Path, description = "The user."), CloseUser),
    responses((status = 202, description = "On its way."), CloseRefusals),
)]
pub(super) async fn user_connections(
    State(api): State<Arc<Api>>,
    Params(sub): Params<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    api.caller(&headers)?.needs_at_all(Right::Close)?;
    let sub = user(&sub)?;
    let change = match read(query.as_deref().unwrap_or_default())? {
        (code, Some(session)) => Control::CloseSession(sub, session, code),
        (code, None) => Control::Close(Member::User(sub), code),
    };
    api.publisher.change(change).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Closes one connection.
///
/// Sent to every instance: 202 says that it is on its way, not that there was such a connection.
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
    let member = Member::Connection(id.parse()?);
    let (code, None) = read(query.as_deref().unwrap_or_default())? else {
        return Err(Kind::BadQuery.because("a connection is closed whatever its session"));
    };
    api.publisher.change(Control::Close(member, code)).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Reads `code=<number>` and `session=<name>`. Anything else is refused: a misspelt parameter must
/// not close more than was meant.
fn read(query: &str) -> Result<(u16, Option<Arc<str>>), Problem> {
    let (mut code, mut session) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value)?;
        match name {
            "code" if code.is_none() => code = Some(known(&value)?),
            "session" if session.is_none() => session = Some(named(&value)?),
            _ => {
                let name: String = name.chars().take(40).collect();
                let detail = format!("parameter {name:?}; 'code' and 'session' are known, once");
                return Err(Kind::BadQuery.because(detail));
            }
        }
    }
    let [default, ..] = ENDS;
    Ok((code.unwrap_or(default.code), session))
}

fn known(text: &str) -> Result<u16, Problem> {
    let asked = text.parse().ok();
    asked.filter(|code| ENDS.iter().any(|end| end.code == *code)).ok_or_else(|| {
        let codes = ENDS.map(|end| end.code.to_string()).join(", ");
        Kind::BadQuery.because(format!("code is none of {codes}"))
    })
}

fn named(text: &str) -> Result<Arc<str>, Problem> {
    if text.is_empty() || text.len() > MAX_SESSION_LEN {
        let len = text.len();
        let detail = format!("session has {len} bytes; 1 to {MAX_SESSION_LEN} are allowed");
        return Err(Kind::BadQuery.because(detail));
    }
    Ok(text.into())
}
