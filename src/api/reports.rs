//! Reports about a group or a user on this instance, to answer why an event did not arrive.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;

use super::Api;
use super::request::{self, Params};
use super::schemas::ReportRefusals;
use crate::group::GroupName;
use crate::http::{Problem, ProblemKind};
use crate::hub::{ConnectionReport, Dropped, GroupReport};
use crate::identity::Right;

/// Publications that did not reach a connection, by cause.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Dropped)]
pub(super) struct DroppedBody {
    /// The group's capacity in the connection's outbox was reached.
    capacity: u64,
    /// The outbox's byte limit was reached.
    bytes: u64,
    /// They expired in the outbox.
    expired: u64,
    /// The connection's route does not list the event.
    unlisted: u64,
    /// The connection ended, or left the group, while they were queued.
    closed: u64,
    /// A newer one took their place, in a group that keeps only the latest: no loss.
    superseded: u64,
}

/// A group on this instance.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = GroupReport)]
pub(super) struct GroupBody {
    /// The instance that answers.
    instance: String,
    /// The group.
    group: String,
    /// Connections that are members.
    connections: u64,
    /// Publications passed to their connections since the group has had members here.
    sent: u64,
    /// Number of the newest publication, where the group keeps a history.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_offset: Option<u64>,
    dropped: DroppedBody,
}

/// A user on this instance.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = UserReport)]
pub(super) struct UserBody {
    /// The instance that answers.
    instance: String,
    /// The user.
    sub: String,
    /// The user's open connections.
    connections: Vec<ConnectionBody>,
    /// The close code of the user's last connection that ended, while remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_close: Option<u16>,
}

/// A connection.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ConnectionReport)]
struct ConnectionBody {
    /// Its id.
    id: String,
    /// Its name for `channel_layer.send` and `group_add` of Django, where that layer is received.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    channel: Option<String>,
    /// `groupcast.v1.json` or `plain`.
    protocol: &'static str,
    /// Milliseconds since it was opened.
    age_ms: u64,
    /// Its groups, of those that the key may read.
    groups: Vec<String>,
    /// The number of its other groups.
    other_groups: usize,
    /// Frames written to its socket.
    sent: u64,
    /// Frames waiting.
    waiting: usize,
    /// Bytes waiting.
    waiting_bytes: usize,
    dropped: DroppedBody,
}

/// Reports about a group on this instance.
#[utoipa::path(
    get, path = "/groups/{name}", tag = "report", operation_id = "reportGroup",
    params(("name" = inline(super::schemas::GroupName), Path, description = "The group.")),
    responses((status = 200, description = "The report.", body = GroupBody), ReportRefusals),
)]
pub(super) async fn group(
    State(api): State<Arc<Api>>,
    Params(name): Params<String>,
    headers: HeaderMap,
) -> Result<Json<GroupBody>, Problem> {
    let caller = api.caller(&headers)?;
    let group = GroupName::parse(&name)?;
    caller.needs(Right::Read, &group)?;
    let GroupReport { connections, sent, last_offset, dropped } =
        answer_in_time(&api, api.hub.report_group(&group)).await?;
    Ok(Json(GroupBody {
        instance: api.hub.instance().to_string(),
        group: name,
        connections,
        sent,
        last_offset,
        dropped: dropped.into(),
    }))
}

/// Reports about a user on this instance.
#[utoipa::path(
    get, path = "/users/{sub}", tag = "report", operation_id = "reportUser",
    params(("sub" = inline(super::schemas::Sub), Path, description = "The user.")),
    responses((status = 200, description = "The report.", body = UserBody), ReportRefusals),
)]
pub(super) async fn user(
    State(api): State<Arc<Api>>,
    Params(sub): Params<String>,
    headers: HeaderMap,
) -> Result<Json<UserBody>, Problem> {
    let caller = api.caller(&headers)?;
    caller.needs_at_all(Right::Read)?;
    let sub = request::user(&sub)?;
    let report = answer_in_time(&api, api.hub.report_user(&sub)).await?;
    let body = |connection: ConnectionReport| {
        let held = connection.groups.len();
        let readable = connection.groups.iter().filter(|name| caller.may(Right::Read, name));
        let groups: Vec<_> = readable.map(GroupName::to_string).collect();
        ConnectionBody {
            id: connection.id.to_string(),
            channel: api.mailboxes.as_ref().map(|mailboxes| mailboxes.channel(connection.id)),
            protocol: if connection.v1 { crate::protocol::V1 } else { "plain" },
            age_ms: connection.age.as_millis() as u64,
            other_groups: held - groups.len(),
            groups,
            sent: connection.sent,
            waiting: connection.waiting,
            waiting_bytes: connection.waiting_bytes,
            dropped: connection.dropped.into(),
        }
    };
    Ok(Json(UserBody {
        instance: api.hub.instance().to_string(),
        sub: sub.to_string(),
        connections: report.connections.into_iter().map(body).collect(),
        last_close: report.last_close,
    }))
}

/// Shards answer between two turns; one that does not answer in time lacks CPU time.
async fn answer_in_time<T>(api: &Api, report: impl Future<Output = T>) -> Result<T, Problem> {
    let answer = tokio::time::timeout(api.settings.timeout, report).await;
    answer.map_err(|_| ProblemKind::Busy.because("the shards did not answer in time"))
}

impl From<Dropped> for DroppedBody {
    fn from(dropped: Dropped) -> Self {
        let Dropped { capacity, bytes, expired, unlisted, closed, superseded } = dropped;
        Self { capacity, bytes, expired, unlisted, closed, superseded }
    }
}
