//! Frames of clients: one JSON object each, distinguished by `type`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::entries::{self, JoinEntry};
use super::json::{cut, object, string};

/// A frame of `groupcast.v1.json`, borrowing from the text where it can.
#[derive(Debug)]
pub enum ClientFrame<'a> {
    /// Always the first frame.
    Hello {
        /// Absent if the handshake authenticated.
        token: Option<Cow<'a, str>>,
        /// Name and version of the client library.
        client: Option<Cow<'a, str>>,
        /// The id of the client's last connection.
        previous: Option<Cow<'a, str>>,
        /// The last position seen of each group; groups joined by the server recover from here.
        since: Vec<JoinEntry<'a>>,
    },
    /// Join groups.
    Join {
        /// Repeated by the answer.
        id: u64,
        /// At least one, at most [`MAX_GROUPS`](super::MAX_GROUPS).
        groups: Vec<JoinEntry<'a>>,
    },
    /// Leave groups.
    Leave {
        /// Repeated by the answer.
        id: u64,
        /// At least one, at most [`MAX_GROUPS`](super::MAX_GROUPS).
        groups: Vec<JoinEntry<'a>>,
    },
    /// Publish to a group.
    Send {
        /// Repeated by the answer.
        id: u64,
        /// The target group; not checked yet.
        group: Cow<'a, str>,
        /// The event: well-formed JSON, not checked as an event yet.
        data: &'a RawValue,
        /// Whether the sender receives it, too; true by default.
        echo: bool,
        /// Deduplicates for two minutes per (`sub`, key).
        key: Option<Cow<'a, str>>,
    },
    /// Call the back end.
    Call {
        /// Repeated by the answer.
        id: u64,
        /// The name of the call.
        name: Cow<'a, str>,
        /// The data of the call; absent = null.
        data: Option<&'a RawValue>,
        /// Passed on as `Idempotency-Key`.
        key: Option<Cow<'a, str>>,
    },
    /// Renew the token.
    Auth {
        /// Repeated by the answer.
        id: u64,
        /// The new token.
        token: Cow<'a, str>,
    },
    /// The answer to a ping.
    Pong,
    /// Checks the connection, when the network may have changed.
    Ping,
}

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// No JSON object with a string `type`, or a member of the protocol given twice: the peer does
    /// not follow the protocol; closed 4400.
    NotAFrame,
    /// An invalid frame of the protocol; answered with an error, never closed.
    Unusable {
        /// The frame's `id`, if it has a usable one.
        id: Option<u64>,
        /// What is wrong, the value, what is allowed.
        message: String,
    },
}

/// A text frame of the plain protocol: a message for the back end.
#[derive(Debug, Clone)]
pub struct PlainCall<'a> {
    /// The object's `action`, else its `type`.
    pub name: Cow<'a, str>,
    /// The whole object, as the browser wrote it.
    pub data: &'a RawValue,
}

/// The largest `id`: the largest integer that JavaScript represents exactly.
pub const MAX_ID: u64 = (1 << 53) - 1;

/// Parses one text frame of `groupcast.v1.json`.
///
/// One pass over the text leaves every value unparsed; then only those that the frame's type needs
/// are parsed. So each error can show the value, and members of other types are ignored. Unparsed
/// values are skipped without recursion, at any depth.
pub fn parse(text: &str) -> Result<ClientFrame<'_>, FrameError> {
    let members: Members<'_> = object(text).ok_or(FrameError::NotAFrame)?;
    let kind = members.kind.and_then(string).ok_or(FrameError::NotAFrame)?;
    let id = members.id.and_then(integer);
    members.into_frame(&kind).map_err(|message| FrameError::Unusable { id, message })
}

/// Parses one text frame of the plain protocol; `None` = not a JSON object whose `action` or `type`
/// is a string that is not empty.
///
/// An object with `action` or `type` twice is no call: the gateway could grant by the one while the
/// back end acts by the other.
pub fn parse_plain_call(text: &str) -> Option<PlainCall<'_>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        action: Option<&'a RawValue>,
        #[serde(borrow, rename = "type")]
        kind: Option<&'a RawValue>,
    }
    let named: Named<'_> = object(text)?;
    let mut names = [named.action, named.kind].into_iter().flatten().filter_map(string);
    let name = names.find(|name| !name.is_empty())?;
    Some(PlainCall { name, data: serde_json::from_str(text).ok()? })
}

/// Every member of any frame, unparsed; `null` counts as absent.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
    #[serde(borrow)]
    client: Option<&'a RawValue>,
    #[serde(borrow)]
    previous: Option<&'a RawValue>,
    #[serde(borrow)]
    since: Option<&'a RawValue>,
    #[serde(borrow)]
    groups: Option<&'a RawValue>,
    #[serde(borrow)]
    group: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    echo: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
}

impl<'a> Members<'a> {
    fn into_frame(self, kind: &str) -> Result<ClientFrame<'a>, String> {
        match kind {
            "hello" => Ok(ClientFrame::Hello {
                token: self.token()?,
                client: optional("client", self.client, string, "a string")?,
                previous: optional("previous", self.previous, string, "a string")?,
                since: self.since.map(entries::map).transpose()?.unwrap_or_default(),
            }),
            "join" => Ok(ClientFrame::Join { id: self.id(kind)?, groups: self.groups(kind)? }),
            "leave" => Ok(ClientFrame::Leave { id: self.id(kind)?, groups: self.groups(kind)? }),
            "send" => Ok(ClientFrame::Send {
                id: self.id(kind)?,
                group: required(kind, "group", self.group, string, "a group name")?,
                data: required(
                    kind,
                    "data",
                    self.data,
                    Some,
                    "an event, such as {\"type\":\"a\"}",
                )?,
                echo: optional("echo", self.echo, boolean, "true or false")?.unwrap_or(true),
                key: self.key()?,
            }),
            "call" => Ok(ClientFrame::Call {
                id: self.id(kind)?,
                name: required(kind, "name", self.name, string, "a string")?,
                data: self.data,
                key: self.key()?,
            }),
            "auth" => Ok(ClientFrame::Auth {
                id: self.id(kind)?,
                token: self.token()?.ok_or("auth needs \"token\": a string")?,
            }),
            "pong" => Ok(ClientFrame::Pong),
            "ping" => Ok(ClientFrame::Ping),
            other => Err(format!(
                "type {:?} is not known; hello, join, leave, send, call, auth, ping and pong are",
                cut(other)
            )),
        }
    }

    fn id(&self, kind: &str) -> Result<u64, String> {
        required(kind, "id", self.id, integer, "an integer from 0 to 9007199254740991")
    }

    fn groups(&self, kind: &str) -> Result<Vec<JoinEntry<'a>>, String> {
        entries::list(required(kind, "groups", self.groups, Some, entries::LIST)?)
    }

    fn key(&self) -> Result<Option<Cow<'a, str>>, String> {
        optional("key", self.key, string, "a string")
    }

    /// The message does not show the value, which may be a secret.
    fn token(&self) -> Result<Option<Cow<'a, str>>, String> {
        let Some(raw) = self.token else { return Ok(None) };
        string(raw).map(Some).ok_or_else(|| "\"token\" is not a string".to_owned())
    }
}

fn required<'a, T>(
    kind: &str,
    member: &str,
    raw: Option<&'a RawValue>,
    read: impl Fn(&'a RawValue) -> Option<T>,
    allowed: &str,
) -> Result<T, String> {
    match optional(member, raw, read, allowed)? {
        Some(value) => Ok(value),
        None => Err(format!("{kind} needs {member:?}: {allowed}")),
    }
}

fn optional<'a, T>(
    member: &str,
    raw: Option<&'a RawValue>,
    read: impl Fn(&'a RawValue) -> Option<T>,
    allowed: &str,
) -> Result<Option<T>, String> {
    let Some(raw) = raw else { return Ok(None) };
    match read(raw) {
        Some(value) => Ok(Some(value)),
        None => Err(format!("{member:?} is {}; {allowed} is allowed", cut(raw.get()))),
    }
}

fn integer(raw: &RawValue) -> Option<u64> {
    raw.get().parse().ok().filter(|id| *id <= MAX_ID)
}

fn boolean(raw: &RawValue) -> Option<bool> {
    raw.get().parse().ok()
}
