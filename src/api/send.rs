//! One event to one target: `POST …/send` with the event as the body.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::Api;
use super::auth::Caller;
use super::receipt::ReceiptBody;
use super::request::{Params, SendQuery, body, idempotency_key, user};
use super::schemas::{self, Send, SendRefusals};
use crate::event::{ConnectionId, Event, Target};
use crate::group::GroupName;
use crate::http::Problem;
use crate::identity::Right;
use crate::publish::{PublishRequest, Receipt};

/// Marks a response that repeats an earlier one: nothing was sent.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Bytes allowed in a body beyond [`max_event_bytes`]: a final line break, or the members of a
/// broadcast.
///
/// [`max_event_bytes`]: crate::publish::Settings::max_event_bytes
const SLACK: usize = 1024;

/// A request without its path, which differs between the targets.
pub(super) struct SendRequest {
    api: Arc<Api>,
    request: Request,
}

impl FromRequest<Arc<Api>> for SendRequest {
    type Rejection = Infallible;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Infallible> {
        Ok(Self { api: Arc::clone(api), request })
    }
}

impl SendRequest {
    /// Publishes the body to the target that `authorize` names.
    async fn publish(
        self,
        authorize: impl FnOnce(Caller<'_>) -> Result<Target, Problem>,
    ) -> Result<Response, Problem> {
        // A copy: the body may be a slice of the connection's read buffer, which a queued event
        // would keep in memory.
        let event = |content: &Bytes| Ok(Event::parse(Bytes::copy_from_slice(content))?);
        self.publish_from(authorize, event).await
    }

    /// As [`SendRequest::publish`], with the event that `event` finds in the body.
    ///
    /// The body is read last, so that callers without the right cannot make the gateway buffer one.
    pub(super) async fn publish_from(
        self,
        authorize: impl FnOnce(Caller<'_>) -> Result<Target, Problem>,
        event: impl FnOnce(&Bytes) -> Result<Event, Problem>,
    ) -> Result<Response, Problem> {
        let Self { api, request } = self;
        let (head, content) = request.into_parts();
        let caller = api.caller(&head.headers)?;
        let target = authorize(caller)?;
        let SendQuery { expiry, except } = SendQuery::parse(head.uri.query().unwrap_or_default())?;
        let key = idempotency_key(&head.headers, caller.name())?;
        let most = api.publisher.settings().max_event_bytes + SLACK;
        let event = event(&body(&api, &head.headers, content, most).await?)?;
        let request = PublishRequest { event, except, expiry, key };
        Ok(accepted(&api.publisher.publish(target, request).await?))
    }
}

/// Sends an event to the members of a group.
///
/// The body is the event: a JSON object with a string `type`, passed on byte for byte.
#[utoipa::path(
    post, path = "/groups/{name}/send", tag = "send", operation_id = "sendToGroup",
    params(("name" = inline(schemas::GroupName), Path, description = "The group."), Send),
    request_body = schemas::Event,
    responses((status = 202, description = "Accepted.", body = ReceiptBody), SendRefusals),
)]
pub(super) async fn to_group(
    Params(name): Params<String>,
    request: SendRequest,
) -> Result<Response, Problem> {
    let authorize = |caller: Caller<'_>| {
        let group = GroupName::parse(&name)?;
        caller.needs(Right::Send, &group)?;
        Ok(Target::Group(group))
    };
    request.publish(authorize).await
}

/// Sends an event to all connections of a user.
#[utoipa::path(
    post, path = "/users/{sub}/send", tag = "send", operation_id = "sendToUser",
    params(("sub" = inline(schemas::Sub), Path, description = "The user."), Send),
    request_body = schemas::Event,
    responses((status = 202, description = "Accepted.", body = ReceiptBody), SendRefusals),
)]
pub(super) async fn to_user(
    Params(sub): Params<String>,
    request: SendRequest,
) -> Result<Response, Problem> {
    let authorize = |caller: Caller<'_>| {
        caller.needs_at_all(Right::SendUser)?;
        user(&sub).map(Target::User)
    };
    request.publish(authorize).await
}

/// Sends an event to one connection.
#[utoipa::path(
    post, path = "/connections/{id}/send", tag = "send", operation_id = "sendToConnection",
    params(("id" = inline(schemas::ConnectionId), Path, description = "The connection."), Send),
    request_body = schemas::Event,
    responses((status = 202, description = "Accepted.", body = ReceiptBody), SendRefusals),
)]
pub(super) async fn to_connection(
    Params(id): Params<String>,
    request: SendRequest,
) -> Result<Response, Problem> {
    let authorize = |caller: Caller<'_>| {
        caller.needs_at_all(Right::SendUser)?;
        Ok(Target::Connection(id.parse::<ConnectionId>()?))
    };
    request.publish(authorize).await
}

fn accepted(receipt: &Receipt) -> Response {
    let body = serde_json::to_vec(&ReceiptBody::from(receipt)).expect("texts and a number");
    let json = HeaderValue::from_static("application/json");
    let mut response = (StatusCode::ACCEPTED, [(CONTENT_TYPE, json)], body).into_response();
    if receipt.repeated {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
