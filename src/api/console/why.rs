//! Why a user did not see an event.

use axum::Json;
use serde_json::Value;

use super::data::answer;
use super::operator::Asked;
use crate::api::request::user;
use crate::api::schemas::ConsoleRefusals;
use crate::console::WhyQuestion;
use crate::group::GroupName;
use crate::http::{Problem, ProblemKind};

/// The latest time that can be asked about, seconds since 1970: the year 9999.
const LATEST: u64 = 253_402_300_799;

/// Why a user did not see an event: whether he is connected, may join the group and is a member,
/// and what was sent, dropped or replaced; over all instances, in sentences.
///
/// `cause` is the code of the likeliest cause. Instances remember the last ends, refusals and
/// losses in fixed memory, so an answer soon after is the best.
#[utoipa::path(
    get, path = "/console/why", tag = "console", operation_id = "consoleWhy",
    params(
        ("sub" = inline(crate::api::schemas::Sub), Query, description = "The user."),
        ("group" = Option<String>, Query, nullable = false,
         pattern = r"^(?!\.+$)[A-Za-z0-9_.-]{1,99}$",
         description = "The group; without one, the user's connections alone."),
        ("at" = Option<u64>, Query, nullable = false, minimum = 0, maximum = 253_402_300_799_u64,
         description = "When the event was sent, seconds since 1970."),
        ("language" = Option<String>, Query, nullable = false, pattern = "^(en|es)$",
         description = "The language of the sentences; `en` if left out."),
    ),
    responses(
        (status = 200, description = "`cause`, `sentences`, `receipt` and `silent`.",
         body = Object),
        ConsoleRefusals,
    ),
)]
pub(crate) async fn why(asked: Asked) -> Result<Json<Value>, Problem> {
    let known = ["sub", "group", "at", "language"];
    let query = asked.parameters(&known)?;
    let missing = || ProblemKind::BadQuery.because("sub is missing");
    let question = WhyQuestion {
        sub: user(query.text("sub").ok_or_else(missing)?)?.to_string(),
        group: query.text("group").map(GroupName::parse).transpose()?,
        at: query.number("at", 0, LATEST)?,
        language: query.language()?,
    };
    answer(asked.api.console.why(question).await)
}
