//! Posts calls of browsers to the back end, and parses the answers.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::client::{self, OutgoingRequest};
use super::metrics::BackendOutcome;
use super::path_header::{PATH, path_header};
use super::{BackendError, BackendResponse, Client, RequestError, Settings, advice};
use crate::event::ConnectionId;
use crate::group::GroupName;
use crate::hub::CallFailure;
use crate::identity::Identity;
use crate::protocol::Code;

/// Most groups that one answer may name: the default limit of a connection.
const MAX_GROUPS: usize = 128;

/// Longest key of a call, bytes; the same as for a `send`.
const MAX_KEY: usize = 255;

/// Longest message of the back end that is forwarded to the browser, characters.
const MAX_MESSAGE: usize = 500;

/// Longest error code that the back end may choose, bytes.
const MAX_CODE: usize = 40;

/// Posts calls.
#[derive(Debug)]
pub struct Calls {
    client: Client,
    target: String,
    host: HeaderValue,
    parallel: usize,
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub struct CallRequest<'a> {
    /// Name of the call.
    pub name: &'a str,
    /// Its argument.
    pub data: Option<&'a RawValue>,
    /// The calling connection.
    pub connection: ConnectionId,
    /// The connection's channel name in Django, if it has one.
    pub channel: Option<&'a str>,
    /// The connection's identity.
    pub identity: &'a Identity,
    /// The path that the browser connected to.
    pub path: &'a str,
    /// Sent as `Idempotency-Key`.
    pub key: Option<&'a str>,
}

/// The back end's answer to a call.
#[derive(Debug, Default)]
pub struct CallReply {
    /// The result for the browser; `None` = none.
    pub result: Option<Box<RawValue>>,
    /// Groups that the connection joins.
    pub join: Vec<GroupName>,
    /// Groups that it leaves.
    pub leave: Vec<GroupName>,
    /// The close code, if the connection is to be closed.
    pub close: Option<u16>,
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// Error code for the client.
    pub code: Cow<'static, str>,
    /// Message for its users.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retry: bool,
    /// The label of the metric.
    pub failure: CallFailure,
    /// For logs: the answer and the likely setting. `None` = an ordinary refusal, which is no
    /// fault.
    pub cause: Option<String>,
}

/// The body of a call.
#[derive(Serialize)]
struct CallBody<'a, C> {
    call: &'a str,
    data: Option<&'a RawValue>,
    #[serde(serialize_with = "as_text")]
    connection: ConnectionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    sub: &'a str,
    claims: C,
    session: Option<&'a str>,
    path: &'a str,
}

/// The body of an answer; unknown members are ignored.
#[derive(Deserialize)]
struct CallAnswer {
    result: Option<Box<RawValue>>,
    join: Option<Vec<String>>,
    leave: Option<Vec<String>>,
    close: Option<u16>,
}

/// The body of a refusal.
#[derive(Deserialize, Default)]
struct ErrorBody {
    code: Option<String>,
    message: Option<String>,
    /// Whether the site knows no call of this name: a grant and the site's code disagree.
    #[serde(default)]
    unregistered: bool,
}

impl Calls {
    /// Calls as configured; `None` if no path for them is.
    pub fn new(settings: &Settings) -> Result<Option<Self>, BackendError> {
        if !settings.has_calls() {
            return Ok(None);
        }
        let client = Client::new(settings)?;
        let host = client::host(settings, &client);
        let (target, parallel) = (settings.calls.clone(), settings.calls_parallel);
        Ok(Some(Self { client, target, host, parallel }))
    }

    /// Most concurrent calls; the caller enforces it.
    pub fn parallel(&self) -> usize {
        self.parallel
    }

    /// Posts a call; one with a key is repeated once if the connection failed, since only its
    /// repetition is known to be harmless.
    pub async fn post(&self, call: &CallRequest<'_>) -> Result<CallReply, CallError> {
        let request = self.request(call)?;
        let mut answer = self.client.send(request.clone()).await;
        if call.key.is_some()
            && let Err(RequestError::Connect { .. } | RequestError::Broken { .. }) = answer
        {
            answer = self.client.send(request).await;
        }
        reply(&answer.map_err(|error| CallError::unanswered(&error))?)
    }

    fn request(&self, call: &CallRequest<'_>) -> Result<OutgoingRequest<'_>, CallError> {
        let mut headers = client::head(&self.host);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = call.key {
            headers.insert("idempotency-key", key_header(key)?);
        }
        headers.insert(PATH, path_header(call.path));
        let body = CallBody {
            call: call.name,
            data: call.data,
            connection: call.connection,
            channel: call.channel,
            sub: &call.identity.sub,
            claims: call.identity.claims(),
            session: call.identity.session(),
            path: call.path,
        };
        let body = serde_json::to_vec(&body).expect("text and checked JSON always serialize");
        Ok(OutgoingRequest {
            method: Method::POST,
            target: &self.target,
            headers,
            body: Bytes::from(body),
        })
    }
}

fn key_header(key: &str) -> Result<HeaderValue, CallError> {
    let legal = (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    let header = legal.then(|| HeaderValue::from_str(key).ok()).flatten();
    header.ok_or_else(|| {
        let message = format!("the key of a call is 1 to {MAX_KEY} visible ASCII characters");
        CallError::new(Code::BadRequest, message, CallFailure::Refused, None)
    })
}

/// Reads an answer of any status.
fn reply(answer: &BackendResponse) -> Result<CallReply, CallError> {
    match answer.status {
        StatusCode::NO_CONTENT => Ok(CallReply::default()),
        StatusCode::OK if answer.json => read_reply(&answer.body)
            .map_err(|problem| CallError::unusable(format!("invalid answer to a call: {problem}"))),
        status if status.is_client_error() => Err(refused(answer)),
        status if status.is_server_error() => {
            let message = "the back end failed";
            let cause = Some(advice::explain(answer));
            Err(CallError::new(Code::Unavailable, message, CallFailure::Failed, cause))
        }
        _ => Err(CallError::unusable(advice::explain(answer))),
    }
}

fn read_reply(body: &[u8]) -> Result<CallReply, String> {
    let answer: CallAnswer =
        serde_json::from_slice(body).map_err(|error| advice::parse_problem(&error))?;
    let (join, leave) = (groups(answer.join)?, groups(answer.leave)?);
    if join.len() + leave.len() > MAX_GROUPS {
        let named = join.len() + leave.len();
        return Err(format!("it names {named} groups; {MAX_GROUPS} are allowed"));
    }
    let result = answer.result.filter(|result| result.get() != "null");
    Ok(CallReply { result, join, leave, close: answer.close })
}

fn groups(names: Option<Vec<String>>) -> Result<Vec<GroupName>, String> {
    let names = names.unwrap_or_default();
    names.iter().map(|name| GroupName::parse(name).map_err(|error| error.to_string())).collect()
}

/// The error of a 4xx answer, with the back end's own code and message if it gives them.
fn refused(answer: &BackendResponse) -> CallError {
    let (code, message) = match answer.status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            (Code::BadRequest, "the back end does not accept the call")
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            (Code::Forbidden, "the back end does not allow it")
        }
        StatusCode::NOT_FOUND => (Code::NotFound, "no such call"),
        StatusCode::CONFLICT => (Code::Conflict, "the call conflicts with the current state"),
        StatusCode::TOO_MANY_REQUESTS => (Code::Limited, "too many calls"),
        _ => (Code::CallFailed, "the back end refused the call"),
    };
    // JSON comes from the view, anything else from a layer before it. A 401 is about the signature:
    // the caller was authenticated when connecting.
    let from_view = answer.json && answer.status != StatusCode::UNAUTHORIZED;
    let cause = (!from_view).then(|| advice::explain(answer));
    let mut error = CallError::new(code, message, CallFailure::Refused, cause);
    if answer.json {
        let body: ErrorBody = serde_json::from_slice(&answer.body).unwrap_or_default();
        let legal = |code: &String| {
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            (1..=MAX_CODE).contains(&code.len()) && code.bytes().all(allowed)
        };
        if let Some(code) = body.code.filter(legal) {
            error.code = code.into();
        }
        if let Some(message) = body.message {
            error.message = message.chars().take(MAX_MESSAGE).collect();
        }
        if body.unregistered {
            let cause = "the site has no call of this name: is the module with its @groupcast.call \
                         imported, in the apps' ready()?";
            error.cause = Some(cause.to_owned());
        }
    }
    error
}

impl CallError {
    /// An error that may be retried if its code allows it.
    pub fn new(
        code: Code,
        message: impl Into<String>,
        failure: CallFailure,
        cause: Option<String>,
    ) -> Self {
        let (retry, message) = (code.may_retry(), message.into());
        Self { code: code.as_str().into(), message, retry, failure, cause }
    }

    /// How the request ended, as it is counted.
    pub fn outcome(&self) -> BackendOutcome {
        match self.failure {
            CallFailure::Refused => BackendOutcome::Refused,
            CallFailure::Timeout => BackendOutcome::Timeout,
            CallFailure::Unreachable => BackendOutcome::Unreachable,
            _ => BackendOutcome::Failed,
        }
    }

    fn unanswered(error: &RequestError) -> Self {
        let (code, message, failure) = match error {
            RequestError::Connect { .. } | RequestError::Broken { .. } => {
                (Code::Unavailable, "the back end cannot be reached", CallFailure::Unreachable)
            }
            RequestError::Timeout(_) => {
                (Code::Timeout, "the back end did not answer in time", CallFailure::Timeout)
            }
            RequestError::TooLarge | RequestError::TargetTooLong(_) => {
                return Self::unusable(error.to_string());
            }
        };
        Self::new(code, message, failure, Some(error.to_string()))
    }

    /// An invalid answer; the call was probably carried out.
    fn unusable(cause: String) -> Self {
        let message = "the back end's answer is invalid";
        Self::new(Code::CallFailed, message, CallFailure::BadAnswer, Some(cause))
    }
}

fn as_text<T: std::fmt::Display, S: serde::Serializer>(
    id: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
