//! Calls: what a browser asks is posted to the back end, and what the answer means.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::client::{self, Ask};
use super::hook::path_header;
use super::{Answer, AskError, BackendError, Client, PATH, Settings, advice};
use crate::event::ConnectionId;
use crate::group::GroupName;
use crate::identity::Identity;
use crate::protocol::Code;
use crate::telemetry::{BackendOutcome, CallFailure};

/// Most groups that one answer may name: what a connection may hold by default.
const MAX_GROUPS: usize = 128;

/// Longest key of a call, bytes; as of a `send`.
const MAX_KEY: usize = 255;

/// Longest message of the back end that is passed on to the browser, characters.
const MAX_MESSAGE: usize = 500;

/// Longest code of the back end's own, bytes.
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
pub struct Question<'a> {
    /// What is asked.
    pub name: &'a str,
    /// With what.
    pub data: Option<&'a RawValue>,
    /// By which connection.
    pub connection: ConnectionId,
    /// The connection's name in Django's channel layer, where it has one.
    pub channel: Option<&'a str>,
    /// By whom.
    pub identity: &'a Identity,
    /// The path that the connection came by.
    pub path: &'a str,
    /// Passed on as `Idempotency-Key`.
    pub key: Option<&'a str>,
}

/// What the back end did, and what is to be done.
#[derive(Debug, Default)]
pub struct Reply {
    /// For the browser; `None` = nothing.
    pub result: Option<Box<RawValue>>,
    /// Groups that the connection joins.
    pub join: Vec<GroupName>,
    /// Groups that it leaves.
    pub leave: Vec<GroupName>,
    /// With which code it is closed.
    pub close: Option<u16>,
}

/// A call that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// For the browser's program.
    pub code: Cow<'static, str>,
    /// For people in front of it.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retry: bool,
    /// What is counted.
    pub failure: CallFailure,
    /// For operators: what was answered and what to look at. `None` = the back end said no, which is
    /// no fault of anybody's.
    pub cause: Option<String>,
}

/// The body of a call.
#[derive(Serialize)]
struct Body<'a, C> {
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
struct Told {
    result: Option<Box<RawValue>>,
    join: Option<Vec<String>>,
    leave: Option<Vec<String>>,
    close: Option<u16>,
}

/// The body of a refusal.
#[derive(Deserialize, Default)]
struct Complaint {
    code: Option<String>,
    message: Option<String>,
}

impl Calls {
    /// Calls as configured; `None` if there is nowhere to post them to.
    pub fn new(settings: &Settings) -> Result<Option<Self>, BackendError> {
        if !settings.has_calls() {
            return Ok(None);
        }
        let client = Client::new(settings)?;
        let host = client::host(settings, &client);
        let (target, parallel) = (settings.calls.clone(), settings.calls_parallel);
        Ok(Some(Self { client, target, host, parallel }))
    }

    /// Calls that the back end is to be asked at once; whoever asks keeps to it.
    pub fn parallel(&self) -> usize {
        self.parallel
    }

    /// Asks once; a call with a key once more if the connection failed, since only then a
    /// repetition is known to be harmless.
    pub async fn ask(&self, question: &Question<'_>) -> Result<Reply, CallError> {
        let ask = self.request(question)?;
        let mut answer = self.client.ask(ask.clone()).await;
        if question.key.is_some()
            && let Err(AskError::Connect { .. } | AskError::Broken { .. }) = answer
        {
            answer = self.client.ask(ask).await;
        }
        reply(&answer.map_err(|error| CallError::unanswered(&error))?)
    }

    fn request(&self, question: &Question<'_>) -> Result<Ask<'_>, CallError> {
        let mut headers = client::head(&self.host);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = question.key {
            headers.insert("idempotency-key", key_header(key)?);
        }
        headers.insert(PATH, path_header(question.path));
        let body = Body {
            call: question.name,
            data: question.data,
            connection: question.connection,
            channel: question.channel,
            sub: &question.identity.sub,
            claims: question.identity.claims(),
            session: question.identity.session(),
            path: question.path,
        };
        let body = serde_json::to_vec(&body).expect("text and checked JSON always serialize");
        Ok(Ask { method: Method::POST, target: &self.target, headers, body: Bytes::from(body) })
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

/// What an answer means.
fn reply(answer: &Answer) -> Result<Reply, CallError> {
    match answer.status {
        StatusCode::NO_CONTENT => Ok(Reply::default()),
        StatusCode::OK if answer.json => told(&answer.body).map_err(|what| {
            let cause = format!("the answer to the call cannot be used: {what}");
            CallError::useless(cause)
        }),
        status if status.is_client_error() => Err(refused(answer)),
        status if status.is_server_error() => {
            let message = "the back end failed";
            let cause = Some(advice::on(answer));
            Err(CallError::new(Code::Unavailable, message, CallFailure::Failed, cause))
        }
        _ => Err(CallError::useless(advice::on(answer))),
    }
}

fn told(body: &[u8]) -> Result<Reply, String> {
    let told: Told = serde_json::from_slice(body).map_err(|error| advice::fault(&error))?;
    let (join, leave) = (groups(told.join)?, groups(told.leave)?);
    if join.len() + leave.len() > MAX_GROUPS {
        let named = join.len() + leave.len();
        return Err(format!("it names {named} groups; {MAX_GROUPS} are allowed"));
    }
    let result = told.result.filter(|result| result.get() != "null");
    Ok(Reply { result, join, leave, close: told.close })
}

fn groups(names: Option<Vec<String>>) -> Result<Vec<GroupName>, String> {
    let names = names.unwrap_or_default();
    names.iter().map(|name| GroupName::parse(name).map_err(|error| error.to_string())).collect()
}

/// The back end said no: in its own words, where it has any.
fn refused(answer: &Answer) -> CallError {
    let (code, message) = match answer.status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            (Code::BadRequest, "the back end cannot use the call")
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            (Code::Forbidden, "the back end does not allow it")
        }
        StatusCode::NOT_FOUND => (Code::NotFound, "no such call"),
        StatusCode::CONFLICT => {
            (Code::Conflict, "the call contradicts what has happened meanwhile")
        }
        StatusCode::TOO_MANY_REQUESTS => (Code::Limited, "too many calls"),
        _ => (Code::CallFailed, "the back end refused the call"),
    };
    // JSON is the view's own word, anything else came from whatever stands before it; and 401 is
    // about the signature, since who calls was settled long before.
    let ours = answer.json && answer.status != StatusCode::UNAUTHORIZED;
    let cause = (!ours).then(|| advice::on(answer));
    let mut error = CallError::new(code, message, CallFailure::Refused, cause);
    if answer.json {
        let complaint: Complaint = serde_json::from_slice(&answer.body).unwrap_or_default();
        let legal = |code: &String| {
            let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            (1..=MAX_CODE).contains(&code.len()) && code.bytes().all(word)
        };
        if let Some(code) = complaint.code.filter(legal) {
            error.code = code.into();
        }
        if let Some(message) = complaint.message {
            error.message = message.chars().take(MAX_MESSAGE).collect();
        }
    }
    error
}

impl CallError {
    /// With the code's own answer to "again?".
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

    fn unanswered(error: &AskError) -> Self {
        let (code, message, failure) = match error {
            AskError::Connect { .. } | AskError::Broken { .. } => {
                (Code::Unavailable, "the back end cannot be reached", CallFailure::Unreachable)
            }
            AskError::Timeout(_) => {
                (Code::Timeout, "the back end did not answer in time", CallFailure::Timeout)
            }
            AskError::TooLarge => return Self::useless(error.to_string()),
        };
        Self::new(code, message, failure, Some(error.to_string()))
    }

    /// An answer that is none; it was probably done all the same.
    fn useless(cause: String) -> Self {
        let message = "the back end's answer cannot be used";
        Self::new(Code::CallFailed, message, CallFailure::BadAnswer, Some(cause))
    }
}

fn as_text<T: std::fmt::Display, S: serde::Serializer>(
    id: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
