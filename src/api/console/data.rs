//! The console's data: snapshots, pages of groups and connections, the log, a tap.

use axum::Json;
use serde_json::{Value, json};

use super::operator::Asked;
use crate::api::request::user;
use crate::api::schemas::ConsoleRefusals;
use crate::console::Overview;
use crate::event::ConnectionId;
use crate::group::{GroupName, MAX_NAME_LEN};
use crate::http::{Problem, ProblemKind};
use crate::hub::{ConnectionOrder, ConnectionQuery, GroupOrder, GroupQuery};
use crate::identity::Right;

const GROUP_ORDERS: [(&str, GroupOrder); 4] = [
    ("members", GroupOrder::Members),
    ("sent", GroupOrder::Sent),
    ("dropped", GroupOrder::Dropped),
    ("name", GroupOrder::Name),
];

const CONNECTION_ORDERS: [(&str, ConnectionOrder); 5] = [
    ("newest", ConnectionOrder::Newest),
    ("oldest", ConnectionOrder::Oldest),
    ("waiting", ConnectionOrder::Waiting),
    ("dropped", ConnectionOrder::Dropped),
    ("sent", ConnectionOrder::Sent),
];

/// The state of every instance at this moment: connections, rates, delivery times, losses, the
/// layer, the busiest groups, and the metrics that are not zero.
///
/// Instances that do not answer in time are listed in `silent`, the rights of the key asked with
/// in `key`. Needs the right `console`, as everything below `/console`.
#[utoipa::path(
    get, path = "/console/snapshot", tag = "console", operation_id = "consoleSnapshot",
    responses(
        (status = 200, description = "`instances`, each with its numbers, `silent`, and `key`.",
         body = Object),
        ConsoleRefusals,
    ),
)]
pub(crate) async fn snapshot(asked: Asked) -> Result<Json<Value>, Problem> {
    let caller = asked.caller()?;
    asked.parameters(&[])?;
    let Overview { instances, silent } = asked.api.console.overview().await;
    let key = json!({ "name": caller.name(), "rights": caller.rights() });
    answer(json!({ "instances": instances, "silent": silent, "key": key }))
}

/// A page of the groups with members, added up over all instances.
#[utoipa::path(
    get, path = "/console/groups", tag = "console", operation_id = "consoleGroups",
    params(
        ("order" = Option<String>, Query, nullable = false,
         pattern = "^(members|sent|dropped|name)$", description = "The most of what comes first."),
        ("search" = Option<String>, Query, nullable = false, max_length = 99,
         description = "Part of the name."),
        ("skip" = Option<u64>, Query, nullable = false, minimum = 0, maximum = 800,
         description = "Rows before the page."),
        ("rows" = Option<u64>, Query, nullable = false, minimum = 1, maximum = 200,
         description = "Rows of the page; 50 if left out."),
    ),
    responses((status = 200, description = "`groups` and `silent`.", body = Object),
              ConsoleRefusals),
)]
pub(crate) async fn groups(asked: Asked) -> Result<Json<Value>, Problem> {
    let query = asked.parameters(&["order", "search", "skip", "rows"])?;
    let (skip, rows) = query.page()?;
    let search = query.short_text("search", MAX_NAME_LEN)?;
    let order = query.one_of("order", &GROUP_ORDERS)?;
    let wanted = GroupQuery { order, search, names: Vec::new(), rows };
    answer(asked.api.console.groups(skip, wanted).await)
}

/// A page of the connections of all instances: all, or those of a user or a group, or one.
#[utoipa::path(
    get, path = "/console/connections", tag = "console", operation_id = "consoleConnections",
    params(
        ("order" = Option<String>, Query, nullable = false,
         pattern = "^(newest|oldest|waiting|dropped|sent)$", description = "What comes first."),
        ("sub" = Option<String>, Query, nullable = false,
         pattern = r"^(?!\.+$)([ -~]{1,255}|[^\u0000-\u001f\u007f-\u009f]{1,63})$",
         description = "Of this user alone."),
        ("group" = Option<String>, Query, nullable = false,
         pattern = r"^(?!\.+$)[A-Za-z0-9_.-]{1,99}$",
         description = "Members of this group alone."),
        ("id" = Option<String>, Query, nullable = false,
         pattern = "^[a-z2-7]{8}-[1-9][0-9]{0,18}$", description = "This connection alone."),
        ("slow" = Option<String>, Query, nullable = false, pattern = "^(yes|no)$",
         description = "Only those with a queue or with losses."),
        ("skip" = Option<u64>, Query, nullable = false, minimum = 0, maximum = 800,
         description = "Rows before the page."),
        ("rows" = Option<u64>, Query, nullable = false, minimum = 1, maximum = 200,
         description = "Rows of the page; 50 if left out."),
    ),
    responses((status = 200, description = "`connections` and `silent`.", body = Object),
              ConsoleRefusals),
)]
pub(crate) async fn connections(asked: Asked) -> Result<Json<Value>, Problem> {
    let known = ["order", "sub", "group", "id", "slow", "skip", "rows"];
    let query = asked.parameters(&known)?;
    let (skip, rows) = query.page()?;
    let id = query.text("id").map(str::parse::<ConnectionId>).transpose()?;
    let wanted = ConnectionQuery {
        order: query.one_of("order", &CONNECTION_ORDERS)?,
        sub: query.text("sub").map(user).transpose()?.map(|sub| sub.to_string()),
        group: query.text("group").map(GroupName::parse).transpose()?.map(|it| it.to_string()),
        id: id.map(|id| id.to_string()),
        slow: query.one_of("slow", &[("no", false), ("yes", true)])?,
        rows,
    };
    answer(asked.api.console.connections(skip, wanted).await)
}

/// The newest 200 warnings and errors of all instances, newest first.
#[utoipa::path(
    get, path = "/console/log", tag = "console", operation_id = "consoleLog",
    responses((status = 200, description = "`lines` and `silent`.", body = Object),
              ConsoleRefusals),
)]
pub(crate) async fn log(asked: Asked) -> Result<Json<Value>, Problem> {
    asked.parameters(&[])?;
    answer(asked.api.console.log().await)
}

/// The events of a group that came since this reader last asked, at most 32.
///
/// The first question begins it, and ten seconds without one end it. Contents are shown to keys
/// that may read the group; others see type and size.
#[utoipa::path(
    get, path = "/console/tap", tag = "console", operation_id = "consoleTap",
    params(
        ("group" = inline(crate::api::schemas::GroupName), Query, description = "The group."),
        ("reader" = u64, Query, minimum = 1, maximum = 9_007_199_254_740_991_u64,
         description = "A number of the reader's own, so that two see all of it each."),
    ),
    responses((status = 200, description = "`events`, `missed` and `silent`.", body = Object),
              ConsoleRefusals),
)]
pub(crate) async fn tap(asked: Asked) -> Result<Json<Value>, Problem> {
    let caller = asked.caller()?;
    let query = asked.parameters(&["group", "reader"])?;
    let missing = |name| move || ProblemKind::BadQuery.because(format!("{name} is missing"));
    let group = GroupName::parse(query.text("group").ok_or_else(missing("group"))?)?;
    let reader = query.number("reader", 1, (1 << 53) - 1)?.ok_or_else(missing("reader"))?;
    let open = caller.may(Right::Read, &group);
    answer(asked.api.console.tap(&group, reader, open).await)
}

/// Never fails: everything that the console tells becomes JSON.
pub(super) fn answer(value: impl serde::Serialize) -> Result<Json<Value>, Problem> {
    let failed = |_| ProblemKind::Internal.because("the answer is no JSON");
    serde_json::to_value(value).map(Json).map_err(failed)
}
