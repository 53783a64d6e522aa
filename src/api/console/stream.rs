//! One snapshot a second as server-sent events, to a bounded number of watchers.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;

use super::operator::Asked;
use crate::api::schemas::ConsoleRefusals;
use crate::console::Watcher;
use crate::http::{Problem, ProblemKind};

/// Most snapshots of one stream: an hour, as long as the API keeps a connection.
const MAX_SNAPSHOTS: u64 = 3600;

/// A snapshot of all instances each second, as server-sent events.
///
/// Each event has the JSON of `/console/snapshot` as its data. A reader that is late misses some;
/// none wait for it. At most 16 streams are open at an instance.
#[utoipa::path(
    get, path = "/console/stream", tag = "console", operation_id = "consoleStream",
    params(
        ("snapshots" = Option<u64>, Query, nullable = false, minimum = 1, maximum = 3600,
         description = "After how many the stream ends; 3600 if left out."),
    ),
    responses(
        (status = 200, description = "The events.", body = Object,
         content_type = "text/event-stream"),
        ConsoleRefusals,
    ),
)]
pub(crate) async fn stream(asked: Asked) -> Result<Response, Problem> {
    let query = asked.parameters(&["snapshots"])?;
    let snapshots = query.number("snapshots", 1, MAX_SNAPSHOTS)?.unwrap_or(MAX_SNAPSHOTS);
    let full = || ProblemKind::Busy.because("too many consoles are open at this instance");
    let watcher = asked.api.console.watch().ok_or_else(full)?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let events = stream::unfold((watcher, snapshots), next_event);
    Ok((headers, Body::from_stream(events)).into_response())
}

/// The next event, and what is left of the stream.
async fn next_event(
    (mut watcher, left): (Watcher, u64),
) -> Option<(Result<Bytes, Infallible>, (Watcher, u64))> {
    let left = left.checked_sub(1)?;
    let overview = watcher.next().await?;
    let event = format!("data: {overview}\n\n");
    Some((Ok(event.into()), (watcher, left)))
}
