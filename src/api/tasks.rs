//! Revokes tasks of Celery, and has them done again.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Api;
use super::request::Params;
use super::schemas::TaskRefusals;
use crate::celery::{OperatorError, TaskOperator};
use crate::excerpt::{VALUE, excerpt};
use crate::http::{Problem, ProblemKind};
use crate::identity::Right;

/// Longest id, bytes; Celery's own have 36.
const MAX_ID: usize = 99;

/// Tells Celery's workers to revoke a task.
///
/// A task that waits is not carried out; one that is being carried out goes on, unless its process
/// is to be ended. 202 does not mean that there was such a task. Needs the right `tasks`.
#[utoipa::path(
    post, path = "/tasks/{id}/revoke", tag = "tasks", operation_id = "revokeTask",
    params(
        ("id" = inline(super::schemas::TaskId), Path, description = "The task."),
        ("terminate" = Option<String>, Query, nullable = false, pattern = "^(yes|no)$",
         description = "Whether the process that carries it out is ended by SIGTERM."),
    ),
    responses((status = 202, description = "Accepted by the broker."), TaskRefusals),
)]
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    Params(id): Params<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    api.caller(&headers)?.needs_at_all(Right::Tasks)?;
    let terminate = match query.as_deref().unwrap_or_default() {
        "" | "terminate=no" => false,
        "terminate=yes" => true,
        other => {
            let other = excerpt(other, VALUE);
            let detail =
                format!("the query is {other:?}; terminate=yes or terminate=no is allowed");
            return Err(ProblemKind::BadQuery.because(detail));
        }
    };
    operator(&api)?.revoke(known(&id)?, terminate).await.map_err(problem)?;
    Ok(StatusCode::ACCEPTED)
}

/// Starts a task as another one was: with the same arguments, for the same user.
///
/// For tasks that browsers started within a day by a call whose `[[task]]` has `retry = true`. The
/// limits of the user do not count. Needs the right `tasks`.
#[utoipa::path(
    post, path = "/tasks/{id}/retry", tag = "tasks", operation_id = "retryTask",
    params(("id" = inline(super::schemas::TaskId), Path, description = "The earlier task.")),
    responses((status = 202, description = "`task`, the id of the new one, and its `group`.",
               body = Object), TaskRefusals),
)]
pub(super) async fn retry(
    State(api): State<Arc<Api>>,
    Params(id): Params<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Value>), Problem> {
    api.caller(&headers)?.needs_at_all(Right::Tasks)?;
    if query.is_some_and(|query| !query.is_empty()) {
        return Err(ProblemKind::BadQuery.because("no query is allowed"));
    }
    let started = operator(&api)?.start_again(known(&id)?).await.map_err(problem)?;
    let group = started.group.map(|group| group.to_string());
    Ok((StatusCode::ACCEPTED, Json(json!({ "task": started.id, "group": group }))))
}

fn operator(api: &Api) -> Result<&TaskOperator, Problem> {
    let none = || ProblemKind::NotFound.because("no [celery] is configured");
    api.tasks.as_ref().ok_or_else(none)
}

fn known(id: &str) -> Result<&str, Problem> {
    let is_id = (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    let illegal = || {
        let id = excerpt(id, VALUE);
        ProblemKind::NotFound
            .because(format!("no task has the id {id:?}; 1 to {MAX_ID} visible characters can be"))
    };
    is_id.then_some(id).ok_or_else(illegal)
}

fn problem(error: OperatorError) -> Problem {
    let kind = match error {
        OperatorError::NoBroker | OperatorError::NotNoted(_) => ProblemKind::NotFound,
        OperatorError::Away(_) => ProblemKind::BrokerUnreachable,
    };
    kind.because(error.to_string())
}
