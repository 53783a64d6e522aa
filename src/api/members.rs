//! Changes memberships, as `group_add` and `group_discard` do in Channels.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::Api;
use super::request::{Params, member};
use super::schemas::ChangeRefusals;
use crate::event::{Control, Member};
use crate::group::GroupName;
use crate::http::Problem;
use crate::identity::Right;

/// Adds a connection, or all current connections of a user, to a group.
///
/// It takes effect on every instance, in order with events, even on one that cannot be reached at
/// present. 202 does not mean that such a connection exists.
#[utoipa::path(
    put, path = "/groups/{name}/members/{member}", tag = "members", operation_id = "addMember",
    params(
        ("name" = inline(super::schemas::GroupName), Path, description = "The group."),
        ("member" = inline(super::schemas::Member), Path, description = "Who."),
    ),
    responses((status = 202, description = "Accepted."), ChangeRefusals),
)]
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    Params(names): Params<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (group, member) = change(&api, &headers, names)?;
    api.publisher.change(Control::Join(member, group)).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Removes a connection, or all current connections of a user, from a group.
///
/// After 202, what is published to the group does not reach them.
#[utoipa::path(
    delete, path = "/groups/{name}/members/{member}", tag = "members",
    operation_id = "removeMember",
    params(
        ("name" = inline(super::schemas::GroupName), Path, description = "The group."),
        ("member" = inline(super::schemas::Member), Path, description = "Who."),
    ),
    responses((status = 202, description = "Accepted."), ChangeRefusals),
)]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Params(names): Params<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (group, member) = change(&api, &headers, names)?;
    api.publisher.change(Control::Leave(member, group)).await?;
    Ok(StatusCode::ACCEPTED)
}

fn change(
    api: &Api,
    headers: &HeaderMap,
    (group, who): (String, String),
) -> Result<(GroupName, Member), Problem> {
    let caller = api.caller(headers)?;
    let group = GroupName::parse(&group)?;
    caller.needs(Right::Members, &group)?;
    Ok((group, member(&who)?))
}
