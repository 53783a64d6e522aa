//! Celery's tasks, as the instance that is asked knows them.

use axum::Json;
use serde_json::{Value, json};

use super::data::answer;
use super::operator::Asked;
use crate::api::schemas::ConsoleRefusals;
use crate::http::Problem;

/// Celery's workers, queues and tasks: who is alive, how many tasks wait, what became of those of
/// each name, and the newest 200.
///
/// Every instance hears all workers, so the one that is asked answers alone.
/// `is_configured` is false where nothing of `[celery]` is.
#[utoipa::path(
    get, path = "/console/tasks", tag = "console", operation_id = "consoleTasks",
    responses((status = 200, description = "`workers`, `queues`, `names`, `tasks`, `repeatable`.",
               body = Object), ConsoleRefusals),
)]
pub(crate) async fn tasks(asked: Asked) -> Result<Json<Value>, Problem> {
    asked.parameters(&[])?;
    match &asked.api.tasks {
        Some(tasks) => answer(tasks.report().await),
        None => Ok(Json(json!({ "is_configured": false }))),
    }
}
