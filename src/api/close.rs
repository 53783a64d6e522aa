//! Closes connections, for example of users who logged out or lost a permission.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};

use super::Api;
use super::request::{Params, decode, user};
use super::schemas::{Close, CloseRefusals, CloseUser};
use crate::event::{Control, Member};
use crate::excerpt::excerpt;
use crate::http::{Problem, ProblemKind};
use crate::identity::{MAX_SESSION_LEN, Right};
use crate::protocol::Disconnect;

/// The close codes that a back end may choose; the first is the default.
const CODES: [Disconnect; 4] = [
    Disconnect::FORBIDDEN,
    Disconnect::UNAUTHORIZED,
    Disconnect::REPLACED,
    Disconnect::UNAVAILABLE,
];

/// Closes the current connections of a user, all or those of one session.
///
/// It takes effect on every instance, in order with events, even on one that cannot be reached at
/// present. 202 does not mean that there was such a connection.
#[utoipa::path(
    post, path = "/users/{sub}/close", tag = "close", operation_id = "closeUser",
    params(("sub" = inline(super::schemas::Sub), Path, description = "The user."), CloseUser),
    responses((status = 202, description = "Accepted."), CloseRefusals),
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
/// It takes effect on every instance, in order with events, even on one that cannot be reached at
/// present. 202 does not mean that there was such a connection.
#[utoipa::path(
    post, path = "/connections/{id}/close", tag = "close", operation_id = "closeConnection",
    params(
        ("id" = inline(super::schemas::ConnectionId), Path, description = "The connection."),
        Close,
    ),
    responses((status = 202, description = "Accepted."), CloseRefusals),
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
        return Err(ProblemKind::BadQuery.because("closing one connection takes no 'session'"));
    };
    api.publisher.change(Control::Close(member, code)).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Parses `code=<number>` and `session=<name>`. Anything else is refused: a misspelt parameter must
/// not close more than intended.
fn read(query: &str) -> Result<(u16, Option<Arc<str>>), Problem> {
    let (mut code, mut session) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value)?;
        match name {
            "code" if code.is_none() => code = Some(close_code(&value)?),
            "session" if session.is_none() => session = Some(session_name(&value)?),
            _ => {
                let name = excerpt(name, 40);
                let detail =
                    format!("unexpected parameter {name:?}; expected 'code', 'session', once each");
                return Err(ProblemKind::BadQuery.because(detail));
            }
        }
    }
    let [default, ..] = CODES;
    Ok((code.unwrap_or(default.code), session))
}

fn close_code(text: &str) -> Result<u16, Problem> {
    let asked = text.parse().ok();
    asked.filter(|code| CODES.iter().any(|known| known.code == *code)).ok_or_else(|| {
        let codes = CODES.map(|known| known.code.to_string()).join(", ");
        ProblemKind::BadQuery.because(format!("code must be one of {codes}"))
    })
}

fn session_name(text: &str) -> Result<Arc<str>, Problem> {
    if text.is_empty() || text.len() > MAX_SESSION_LEN {
        let len = text.len();
        let detail = format!("session has {len} bytes; 1 to {MAX_SESSION_LEN} are allowed");
        return Err(ProblemKind::BadQuery.because(detail));
    }
    Ok(text.into())
}
