//! What lies in the sources of events, besides what is drained.

use axum::Json;
use serde_json::Value;

use super::data::answer;
use super::operator::Asked;
use crate::api::schemas::ConsoleRefusals;
use crate::http::Problem;
use crate::identity::Right;

/// Entries of sources that were set aside, with the reason; groups for which publications are
/// parked until somebody listens; the queues of RabbitMQ. `findings` has the words of the doctor.
///
/// All instances share these, so the one that is asked answers alone. The contents of entries are
/// shown to keys that may read every group.
#[utoipa::path(
    get, path = "/console/sources", tag = "console", operation_id = "consoleSources",
    params(
        ("language" = Option<String>, Query, nullable = false, pattern = "^(en|es)$",
         description = "The language of the findings; `en` if left out."),
    ),
    responses((status = 200, description = "`findings`, `poison` and `parked`.", body = Object),
              ConsoleRefusals),
)]
pub(crate) async fn sources(asked: Asked) -> Result<Json<Value>, Problem> {
    let caller = asked.caller()?;
    let query = asked.parameters(&["language"])?;
    // An entry may be of any group.
    let open = caller.may_on_all(Right::Read);
    answer(asked.api.console.sources(query.language()?, open).await)
}
