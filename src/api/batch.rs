//! Several events to several groups in one request: `POST /batch`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use serde_json::value::RawValue;

use super::Api;
use super::auth::Caller;
use super::receipt::ReceiptBody;
use super::request::{body, except, expiry, idempotency_key};
use super::schemas::{self, BatchRefusals, KeyHeader};
use crate::event::{Event, Target};
use crate::group::GroupName;
use crate::http::{Problem, ProblemBody, ProblemKind};
use crate::identity::Right;
use crate::publish::{DedupeKey, PublishRequest, Receipt, Scope};

/// The most publications of a batch, counted per event and group: about what is published in a few
/// milliseconds, since a batch is answered as a whole.
const MAX_PUBLICATIONS: usize = 1000;

/// The size of a batch's body, in events of the largest size.
const BODY_EVENTS: usize = 16;

/// A batch. Publications are published in the order given.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Batch)]
pub(super) struct BatchRequest<'a> {
    /// At most 1000 pairs of event and group.
    #[serde(borrow)]
    #[schema(min_items = 1, max_items = 1000)]
    publications: Vec<Item<'a>>,
}

/// One event to one or more groups.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchPublication)]
struct Item<'a> {
    /// The groups to send it to.
    #[schema(min_items = 1, value_type = Vec<schemas::GroupName>)]
    groups: Vec<String>,
    /// The event, passed on byte for byte.
    #[serde(borrow)]
    #[schema(value_type = schemas::Event)]
    event: &'a RawValue,
    /// Milliseconds after which it is no longer delivered.
    #[schema(minimum = 1, maximum = 86_400_000, value_type = Option<u64>)]
    expiry_ms: Option<Number>,
    /// Connections and users that do not receive it.
    #[serde(default)]
    #[schema(max_items = 100, value_type = Vec<schemas::Member>)]
    except: Vec<String>,
    /// Its own idempotency key. Without one, that of the request covers it, if there is one.
    #[schema(min_length = 1, max_length = 255)]
    key: Option<String>,
}

/// The response: one result for each event and group, in the order of the batch.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = BatchResults)]
pub(super) struct Results<'a> {
    results: Vec<ResultBody<'a>>,
}

/// The result of one event for one group.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = BatchResult)]
struct ResultBody<'a> {
    /// Index of the publication in the batch, from 0.
    publication: usize,
    /// The group.
    group: &'a str,
    #[serde(flatten)]
    outcome: OutcomeBody<'a>,
}

/// Accepted, with an `id`, or refused, with a `problem`.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(as = BatchOutcome)]
enum OutcomeBody<'a> {
    Accepted {
        #[serde(flatten)]
        receipt: ReceiptBody<'a>,
        /// Set if it was accepted before under the same key, so that nothing was sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        repeated: Option<bool>,
    },
    Refused {
        /// Why.
        #[schema(value_type = ProblemBody)]
        problem: &'a Problem,
    },
}

impl<'a> From<&'a Result<Receipt, Problem>> for OutcomeBody<'a> {
    fn from(result: &'a Result<Receipt, Problem>) -> Self {
        match result {
            Ok(receipt) => Self::Accepted {
                receipt: receipt.into(),
                repeated: receipt.repeated.then_some(true),
            },
            Err(problem) => Self::Refused { problem },
        }
    }
}

/// Sends several events to several groups.
///
/// Every group's order is kept. After the first temporary refusal (503) the rest is not tried, so
/// that repeating what was not accepted, in order, keeps the order, too.
#[utoipa::path(
    post, path = "/batch", tag = "send", operation_id = "sendBatch", params(KeyHeader),
    request_body = BatchRequest,
    responses(
        (status = 202, description = "All were accepted.", body = Results),
        (status = 207, description = "Not all were accepted.", body = Results),
        BatchRefusals,
    ),
)]
pub(super) async fn send(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let caller = api.caller(&headers)?;
    let shared_key = idempotency_key(&headers, caller.name())?;
    let most = BODY_EVENTS * api.publisher.settings().max_event_bytes;
    let content = body(&api, &headers, content, most).await?;
    let batch = read(&content)?;
    let mut refused = Vec::new();
    let mut requests = Vec::new();
    for (index, item) in batch.publications.iter().enumerate() {
        let share = shared_key.as_ref().map(|key| key.of_part(index));
        let (problems, request) = prepare(item, share, caller);
        refused.extend(problems);
        requests.extend(request);
    }
    let mut answers = api.publisher.publish_batch(&requests).await.into_iter().flatten();
    let ended = |problem: Option<Problem>| match problem {
        Some(problem) => Err(problem),
        None => Ok(answers.next().expect("the publisher answers for every target")?),
    };
    let outcomes: Vec<_> = refused.into_iter().map(ended).collect();
    Ok(respond(&batch, &outcomes))
}

/// One event with the groups that it may be sent to.
type Ready = (Vec<Target>, PublishRequest);

/// Prepares one publication: the problem of each group, and the targets without a problem.
fn prepare(
    item: &Item<'_>,
    share: Option<DedupeKey>,
    caller: Caller<'_>,
) -> (Vec<Option<Problem>>, Option<Ready>) {
    let request = match publish_request(item, share, caller) {
        Ok(request) => request,
        Err(problem) => return (vec![Some(problem); item.groups.len()], None),
    };
    let mut targets = Vec::with_capacity(item.groups.len());
    let mut problem = |name: &String| {
        let allowed = GroupName::parse(name).map_err(Problem::from).and_then(|group| {
            caller.needs(Right::Send, &group)?;
            Ok(Target::Group(group))
        });
        allowed.map(|target| targets.push(target)).err()
    };
    let problems = item.groups.iter().map(&mut problem).collect();
    (problems, Some((targets, request)))
}

fn publish_request(
    item: &Item<'_>,
    share: Option<DedupeKey>,
    caller: Caller<'_>,
) -> Result<PublishRequest, Problem> {
    let own = item.key.as_ref().map(|key| DedupeKey::new(Scope::ApiKey(caller.name()), key));
    Ok(PublishRequest {
        // A copy: a slice would keep the whole batch in memory while one event waits.
        event: Event::parse(Bytes::copy_from_slice(item.event.get().as_bytes()))?,
        except: except(&item.except)?,
        expiry: item.expiry_ms.as_ref().map(milliseconds).transpose()?,
        key: own.transpose()?.or(share),
    })
}

/// An expiry, which may be written `1500.0`: a whole number to JSON Schema, and the result of
/// `timedelta(…).total_seconds() * 1000` in Python.
fn milliseconds(number: &Number) -> Result<Duration, Problem> {
    let whole = |float: f64| (float.fract() == 0.0 && float >= 0.0).then_some(float as u64);
    let millis = number.as_u64().or_else(|| number.as_f64().and_then(whole));
    let detail = "expiry_ms must be a whole number of milliseconds";
    expiry(millis.ok_or_else(|| ProblemKind::BadBatch.because(detail))?, ProblemKind::BadBatch)
}

fn read(content: &[u8]) -> Result<BatchRequest<'_>, Problem> {
    let batch: BatchRequest<'_> = serde_json::from_slice(content)
        .map_err(|e| ProblemKind::BadBatch.because(e.to_string()))?;
    let count: usize = batch.publications.iter().map(|item| item.groups.len()).sum();
    if batch.publications.iter().any(|item| item.groups.is_empty()) {
        return Err(ProblemKind::BadBatch.because("each publication must name a group"));
    }
    if !(1..=MAX_PUBLICATIONS).contains(&count) {
        let detail =
            format!("{count} pairs of event and group; 1 to {MAX_PUBLICATIONS} are allowed");
        return Err(ProblemKind::BadBatch.because(detail));
    }
    Ok(batch)
}

fn respond(batch: &BatchRequest<'_>, outcomes: &[Result<Receipt, Problem>]) -> Response {
    let names = batch.publications.iter().enumerate();
    let names = names.flat_map(|(i, item)| item.groups.iter().map(move |group| (i, group)));
    let results = names.zip(outcomes).map(|((publication, group), outcome)| ResultBody {
        publication,
        group,
        outcome: outcome.into(),
    });
    let body = serde_json::to_vec(&Results { results: results.collect() })
        .expect("texts and numbers always become JSON");
    let status = match outcomes.iter().all(Result::is_ok) {
        true => StatusCode::ACCEPTED,
        false => StatusCode::MULTI_STATUS,
    };
    let json = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, json)], body).into_response()
}
