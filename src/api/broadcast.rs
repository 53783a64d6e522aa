//! One event to every connection: `POST /broadcast`.
//!
//! The body names the recipients, so that no path alone reaches all. HTTP clients resolve `..` in a
//! path: `POST /groups/../send` arrives as `POST /send`, and would broadcast what was meant for a
//! group.

use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::auth::Caller;
use super::receipt::ReceiptBody;
use super::schemas::{self, BroadcastRefusals, Send};
use super::send::SendRequest;
use crate::event::{Event, Target};
use crate::http::{Problem, ProblemKind};
use crate::identity::Right;

/// An event with its recipients.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Broadcast<'a> {
    /// The recipients.
    to: Recipients,
    /// The event, passed on byte for byte.
    #[serde(borrow)]
    #[schema(value_type = schemas::Event)]
    event: &'a RawValue,
}

/// The recipients of a broadcast.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BroadcastRecipients)]
enum Recipients {
    /// Every connection.
    All,
}

/// Sends an event to every connection.
///
/// The body names the recipients: `{"to": "all", "event": {…}}`.
#[utoipa::path(
    post, path = "/broadcast", tag = "send", operation_id = "broadcast", params(Send),
    request_body = Broadcast,
    responses((status = 202, description = "Accepted.", body = ReceiptBody), BroadcastRefusals),
)]
pub(super) async fn broadcast(request: SendRequest) -> Result<Response, Problem> {
    let authorize = |caller: Caller<'_>| {
        caller.needs_at_all(Right::SendAll)?;
        Ok(Target::All)
    };
    request.publish_from(authorize, read).await
}

fn read(content: &Bytes) -> Result<Event, Problem> {
    let broadcast: Broadcast<'_> = serde_json::from_slice(content)
        .map_err(|error| ProblemKind::BadBroadcast.because(error.to_string()))?;
    let Broadcast { to: Recipients::All, event } = broadcast;
    Ok(Event::parse(Bytes::copy_from_slice(event.get().as_bytes()))?)
}
