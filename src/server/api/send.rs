//! One event to one target: `POST …/send` with the event as the body.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

use super::Api;
use super::auth::Caller;
use super::openapi::{Send, SendRefusals};
use super::request::{Params, SendQuery, body, idempotency_key, user};
use crate::event::{ConnectionId, Event, Position, PublicationId, Target};
use crate::group::GroupName;
use crate::identity::Right;
use crate::publish::{PublishRequest, Receipt};
use crate::server::problem::Problem;

/// Says that the answer is an earlier one, and that nothing was sent.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// White space that may surround an event beside [`max_event_bytes`]: a final line break, mostly.
///
/// [`max_event_bytes`]: crate::publish::Settings::max_event_bytes
const SLACK: usize = 1024;

/// The answer to an accepted publication.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Receipt)]
pub(super) struct AcceptedBody<'a> {
    /// The publication's id; clients without history see it with the event.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{22}$")]
    id: PublicationId,
    /// The epoch of the group's history, where it keeps one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    epoch: Option<&'a str>,
    /// The publication's number in that epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    offset: Option<u64>,
}

fn as_text<S: serde::Serializer>(id: &PublicationId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

impl<'a> AcceptedBody<'a> {
    fn of(accepted: &'a Receipt) -> Self {
        let position = accepted.position.as_ref();
        Self {
            id: accepted.id,
            epoch: position.map(|Position { epoch, .. }| &**epoch),
            offset: position.map(|position| position.offset),
        }
    }
}

/// Sends an event to the members of a group.
///
/// The body is the event: a JSON object with a string `type`, passed on byte for byte.
#[utoipa::path(
    post, path = "/groups/{name}/send", tag = "send", operation_id = "sendToGroup",
    params(("name" = inline(super::openapi::GroupName), Path, description = "The group."), Send),
    request_body = super::openapi::Event,
    responses((status = 202, description = "On its way.", body = AcceptedBody), SendRefusals),
)]
pub(super) async fn to_group(
    State(api): State<Arc<Api>>,
    Params(name): Params<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let caller = api.caller(&headers)?;
    let group = GroupName::parse(&name)?;
    caller.needs(Right::Send, &group)?;
    let draft = draft(&api, caller, query, &headers, content).await?;
    publish(&api, Target::Group(group), draft).await
}

/// Sends an event to all connections of a user.
#[utoipa::path(
    post, path = "/users/{sub}/send", tag = "send", operation_id = "sendToUser",
    params(("sub" = inline(super::openapi::Sub), Path, description = "The user."), Send),
    request_body = super::openapi::Event,
    responses((status = 202, description = "On its way.", body = AcceptedBody), SendRefusals),
)]
pub(super) async fn to_user(
    State(api): State<Arc<Api>>,
    Params(sub): Params<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let caller = api.caller(&headers)?;
    caller.needs_at_all(Right::SendUser)?;
    let target = Target::User(user(&sub)?);
    let draft = draft(&api, caller, query, &headers, content).await?;
    publish(&api, target, draft).await
}

/// Sends an event to one connection.
#[utoipa::path(
    post, path = "/connections/{id}/send", tag = "send", operation_id = "sendToConnection",
    params(
        ("id" = inline(super::openapi::ConnectionId), Path, description = "The connection."),
        Send,
    ),
    request_body = super::openapi::Event,
    responses((status = 202, description = "On its way.", body = AcceptedBody), SendRefusals),
)]
pub(super) async fn to_connection(
    State(api): State<Arc<Api>>,
    Params(id): Params<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let caller = api.caller(&headers)?;
    caller.needs_at_all(Right::SendUser)?;
    let target = Target::Connection(id.parse::<ConnectionId>()?);
    let draft = draft(&api, caller, query, &headers, content).await?;
    publish(&api, target, draft).await
}

/// Sends an event to every connection.
#[utoipa::path(
    post, path = "/send", tag = "send", operation_id = "sendToAll", params(Send),
    request_body = super::openapi::Event,
    responses((status = 202, description = "On its way.", body = AcceptedBody), SendRefusals),
)]
pub(super) async fn to_all(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let caller = api.caller(&headers)?;
    caller.needs_at_all(Right::SendAll)?;
    let draft = draft(&api, caller, query, &headers, content).await?;
    publish(&api, Target::All, draft).await
}

/// Reads all of a publication but its target. The body comes last: nobody without a right makes
/// the gateway hold one.
async fn draft(
    api: &Api,
    caller: Caller<'_>,
    query: Option<String>,
    headers: &HeaderMap,
    content: Body,
) -> Result<PublishRequest, Problem> {
    let SendQuery { expiry, except } = SendQuery::parse(query.as_deref().unwrap_or_default())?;
    let key = idempotency_key(headers, caller.name())?;
    let most = api.publisher.settings().max_event_bytes + SLACK;
    let content = body(api, headers, content, most).await?;
    // A copy of its own: the body may be a slice of the connection's read buffer, which a waiting
    // event would keep alive.
    let event = Event::parse(Bytes::copy_from_slice(&content))?;
    Ok(PublishRequest { event, except, expiry, key })
}

async fn publish(api: &Api, target: Target, draft: PublishRequest) -> Result<Response, Problem> {
    let accepted = api.publisher.publish(target, draft).await?;
    let body = serde_json::to_vec(&AcceptedBody::of(&accepted)).expect("three texts become JSON");
    let json = HeaderValue::from_static("application/json");
    let mut response = (StatusCode::ACCEPTED, [(CONTENT_TYPE, json)], body).into_response();
    if accepted.repeated {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}
