//! Frames of the gateway in `groupcast.v1.json`: each function builds one complete frame.

use std::sync::LazyLock;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::refusal::Refusal;
use crate::event::{ConnectionId, Position, Publication, PublicationId};
use crate::frame::Frame;
use crate::group::GroupName;

/// The outcome of one group of a join or leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinOutcome {
    /// The group as the client wrote it; a refused name may be illegal.
    pub group: Box<str>,
    /// Joined (or left), or refused.
    pub outcome: Result<Held, Refusal>,
}

/// A group that was joined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The group's position at the join, if it keeps history.
    pub position: Option<Position>,
    /// Whether everything since the client's position follows; `None` if it gave none.
    pub recovered: Option<bool>,
}

/// The content of `welcome`.
#[derive(Debug)]
pub struct Welcome<'a> {
    /// This connection's id; `instance` is derived from it.
    pub connection: ConnectionId,
    /// Milliseconds between the gateway's pings.
    pub ping_ms: u64,
    /// Largest frame that the client may send, bytes.
    pub max_bytes: usize,
    /// Frames per second that the client may send, and its burst; beyond them 4529.
    pub frames: (u32, u32),
    /// Seconds until the token expires.
    pub expires_in: Option<u64>,
    /// The window in which to reconnect after a loss of the connection, milliseconds.
    pub retry_ms: u64,
    /// The groups joined by the server.
    pub groups: &'a [JoinOutcome],
}

/// Why publications of a group were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The connection reads too slowly.
    Slow,
    /// They expired while queued.
    Expired,
    /// The layer lost them.
    Layer,
}

impl GapReason {
    /// The reason as sent, and as the label of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Expired => "expired",
            Self::Layer => "layer",
        }
    }
}

/// A gap: publications of a group were missed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The number of missed publications, if known.
    pub lost: Option<u64>,
    /// First and last missed offset, inclusive, with their epoch, where the group has positions.
    ///
    /// A last offset before the first is an empty range: the epoch is new and nothing of it is
    /// missed, only what preceded it. Then the epoch is sent, but not `from` and `to`.
    pub range: Option<(Position, u64)>,
    /// Whether the loss is only possible.
    pub possible: bool,
}

/// A notice in place of an event that a connection does not receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It was missed.
    Gap(Gap),
    /// It is not for this connection, which is now at this position.
    Position(Position),
}

/// `welcome`, the answer to `hello`.
pub fn welcome(welcome: &Welcome<'_>) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        #[serde(serialize_with = "as_text")]
        connection: ConnectionId,
        instance: &'a str,
        ping_ms: u64,
        max_bytes: usize,
        frames_per_second: u32,
        frame_burst: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in: Option<u64>,
        retry_ms: u64,
        groups: Vec<Entry<'a>>,
    }
    json(&Body {
        r#type: "welcome",
        connection: welcome.connection,
        instance: welcome.connection.instance.as_str(),
        ping_ms: welcome.ping_ms,
        max_bytes: welcome.max_bytes,
        frames_per_second: welcome.frames.0,
        frame_burst: welcome.frames.1,
        expires_in: welcome.expires_in,
        retry_ms: welcome.retry_ms,
        groups: entries(welcome.groups),
    })
}

/// `joined`: the answer to `join`, or, without `id` and with a `reason`, a change by the server.
pub fn joined(id: Option<u64>, groups: &[JoinOutcome], reason: Option<&str>) -> Frame {
    membership("joined", id, groups, reason)
}

/// `left`: the answer to `leave`, or, without `id` and with a `reason`, a change by the server.
pub fn left(id: Option<u64>, groups: &[JoinOutcome], reason: Option<&str>) -> Frame {
    membership("left", id, groups, reason)
}

/// `event`, for a group's members; `group` is `None` for the other targets.
///
/// Runs once per publication and encoding. The event's JSON, which was checked, is copied
/// unchanged.
pub fn event(group: Option<&GroupName>, publication: &Publication) -> Frame {
    let place = match &publication.position {
        Some(position) => format!(r#""offset":{},"data":"#, position.offset),
        None => format!(r#""id":"{}","data":"#, publication.id),
    };
    let data = publication.event.json();
    match group {
        // A legal name contains nothing that JSON escapes.
        Some(group) => Frame::text_of(&[
            br#"{"type":"event","group":""#,
            group.as_str().as_bytes(),
            br#"","#,
            place.as_bytes(),
            data,
            b"}",
        ]),
        None => Frame::text_of(&[br#"{"type":"event","#, place.as_bytes(), data, b"}"]),
    }
}

/// `gap` or `position`, in place of what the connection does not receive.
pub fn notice(group: Option<&GroupName>, notice: &Notice) -> Frame {
    match notice {
        Notice::Gap(lost) => gap(group, lost),
        Notice::Position(at) => position(group, at),
    }
}

/// `position`: the publication there is not for this connection.
fn position(group: Option<&GroupName>, position: &Position) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<&'a str>,
        epoch: &'a str,
        offset: u64,
    }
    json(&Body {
        r#type: "position",
        group: group.map(GroupName::as_str),
        epoch: &position.epoch,
        offset: position.offset,
    })
}

/// `gap`, at the place of the loss; `group` is `None` for the other targets.
pub fn gap(group: Option<&GroupName>, gap: &Gap) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<&'a str>,
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        epoch: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        lost: Option<u64>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        possible: bool,
    }
    let missed = gap.range.as_ref().map(|(first, last)| (first.offset, *last));
    let missed = missed.filter(|(first, last)| first <= last);
    json(&Body {
        r#type: "gap",
        group: group.map(GroupName::as_str),
        reason: gap.reason.as_str(),
        epoch: gap.range.as_ref().map(|(first, _)| &*first.epoch),
        from: missed.map(|(first, _)| first),
        to: missed.map(|(_, last)| last),
        lost: gap.lost,
        possible: gap.possible,
    })
}

/// `result` of a call; `data` is passed on unchanged.
pub fn result(id: u64, data: &RawValue) -> Frame {
    let head = format!(r#"{{"type":"result","id":{id},"data":"#);
    Frame::text_of(&[head.as_bytes(), data.get().as_bytes(), b"}"])
}

/// `result` of a send: the publication's id, and its position if the group keeps history.
pub fn sent(id: u64, publication: PublicationId, position: Option<&Position>) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        id: u64,
        data: Sent<'a>,
    }
    #[derive(Serialize)]
    struct Sent<'a> {
        #[serde(serialize_with = "as_text")]
        id: PublicationId,
        #[serde(flatten, skip_serializing_if = "Option::is_none")]
        position: Option<PositionBody<'a>>,
    }
    let data = Sent { id: publication, position: position.map(PositionBody::from) };
    json(&Body { r#type: "result", id, data })
}

/// `error`: the answer to a frame that is refused; without `id` where the frame had none.
pub fn error(id: Option<u64>, refusal: &Refusal) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        #[serde(flatten)]
        refused: Refused<'a>,
    }
    json(&Body { r#type: "error", id, refused: refusal.into() })
}

/// `error` of a call, with a code that may be the back end's own.
pub fn call_error(id: Option<u64>, code: &str, message: &str, retry: bool) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        code: &'a str,
        message: &'a str,
        retry: bool,
    }
    json(&Body { r#type: "error", id, code, message, retry })
}

/// `authed`: the new token is accepted for this many seconds.
pub fn authed(id: u64, expires_in: u64) -> Frame {
    let text = format!(r#"{{"type":"authed","id":{id},"expires_in":{expires_in}}}"#);
    Frame::text(text.as_bytes())
}

/// `auth_due`: the token expires soon.
pub fn auth_due() -> Frame {
    static FRAME: LazyLock<Frame> = LazyLock::new(|| Frame::text(br#"{"type":"auth_due"}"#));
    FRAME.clone()
}

/// `ping`: expects any answer.
pub fn ping() -> Frame {
    static FRAME: LazyLock<Frame> = LazyLock::new(|| Frame::text(br#"{"type":"ping"}"#));
    FRAME.clone()
}

/// `pong`: answers the client's ping.
pub fn pong() -> Frame {
    static FRAME: LazyLock<Frame> = LazyLock::new(|| Frame::text(br#"{"type":"pong"}"#));
    FRAME.clone()
}

/// One group of `welcome`, `joined` or `left`.
#[derive(Serialize)]
struct Entry<'a> {
    group: &'a str,
    #[serde(flatten)]
    position: Option<PositionBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Refused<'a>>,
}

#[derive(Serialize)]
struct PositionBody<'a> {
    epoch: &'a str,
    offset: u64,
}

#[derive(Serialize)]
struct Refused<'a> {
    code: &'static str,
    message: &'a str,
    retry: bool,
}

fn membership(
    kind: &'static str,
    id: Option<u64>,
    groups: &[JoinOutcome],
    reason: Option<&str>,
) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        groups: Vec<Entry<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    }
    json(&Body { r#type: kind, id, groups: entries(groups), reason })
}

fn entries(groups: &[JoinOutcome]) -> Vec<Entry<'_>> {
    groups.iter().map(Entry::from).collect()
}

impl<'a> From<&'a JoinOutcome> for Entry<'a> {
    fn from(JoinOutcome { group, outcome }: &'a JoinOutcome) -> Self {
        let held = outcome.as_ref().ok();
        Self {
            group,
            position: held.and_then(|held| held.position.as_ref()).map(PositionBody::from),
            recovered: held.and_then(|held| held.recovered),
            error: outcome.as_ref().err().map(Refused::from),
        }
    }
}

impl<'a> From<&'a Position> for PositionBody<'a> {
    fn from(position: &'a Position) -> Self {
        Self { epoch: &position.epoch, offset: position.offset }
    }
}

impl<'a> From<&'a Refusal> for Refused<'a> {
    fn from(Refusal { code, message }: &'a Refusal) -> Self {
        Self { code: code.as_str(), message, retry: code.may_retry() }
    }
}

fn as_text<T: std::fmt::Display, S: Serializer>(id: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn json(body: &impl Serialize) -> Frame {
    let text = serde_json::to_vec(body).expect("strings, integers and flags always serialize");
    Frame::text(&text)
}
