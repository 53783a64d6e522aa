//! What a client may say: one JSON object a frame, discriminated by `type`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::entries::{Entries, Since};

/// A frame of `groupcast.v1.json`, borrowing from the text where it can.
#[derive(Debug)]
pub enum ClientFrame<'a> {
    /// Always first.
    Hello {
        /// Left out if the handshake authenticated.
        token: Option<Cow<'a, str>>,
        /// Name and version of the client library.
        client: Option<Cow<'a, str>>,
        /// The last position seen of each group; groups joined by the server recover from here.
        since: Vec<JoinEntry<'a>>,
    },
    /// Become a member.
    Join {
        /// Repeated by the answer.
        id: u64,
        /// At least one.
        groups: Vec<JoinEntry<'a>>,
    },
    /// Cease to be a member.
    Leave {
        /// Repeated by the answer.
        id: u64,
        /// At least one.
        groups: Vec<JoinEntry<'a>>,
    },
    /// Publish to a group.
    Send {
        /// Repeated by the answer.
        id: u64,
        /// Where to.
        group: Cow<'a, str>,
        /// The event.
        data: &'a RawValue,
        /// Whether the sender gets it too.
        echo: bool,
        /// Deduplicates for two minutes per (`sub`, key).
        key: Option<Cow<'a, str>>,
    },
    /// Ask the back end.
    Call {
        /// Repeated by the answer.
        id: u64,
        /// What is asked.
        name: Cow<'a, str>,
        /// With what; absent = null.
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
}

/// One group of a `join`, `leave` or `hello.since`: a bare name or an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinEntry<'a> {
    /// As written; not yet checked.
    pub group: Cow<'a, str>,
    /// The last position that the client has seen.
    pub since: Option<(Cow<'a, str>, u64)>,
}

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// No JSON object with a string `type`: the peer does not speak the protocol; close 4400.
    NotAFrame,
    /// A frame of the protocol that cannot be used; answered with an error, never a close.
    Unusable {
        /// The frame's `id`, if it has one.
        id: Option<u64>,
        /// What is wrong, which value, what is allowed.
        message: String,
    },
}

/// Reads one text frame of `groupcast.v1.json`.
pub fn parse(text: &str) -> Result<ClientFrame<'_>, FrameError> {
    let head: Head<'_> = serde_json::from_str(text).map_err(|_| FrameError::NotAFrame)?;
    let id = head.id.and_then(|raw| raw.get().parse::<u64>().ok()).filter(|id| *id <= MAX_ID);
    let unusable = |message: String| FrameError::Unusable { id, message };
    let needs_id = || {
        id.ok_or_else(|| {
            unusable(format!("{:?} needs an integer id from 0 to {MAX_ID}", head.kind))
        })
    };
    macro_rules! body {
        ($body:ty) => {
            serde_json::from_str::<$body>(text).map_err(|e| {
                unusable(format!(
                    "{:?} is not usable: {}",
                    head.kind,
                    without_place(&e.to_string())
                ))
            })?
        };
    }
    match &*head.kind {
        "hello" => {
            let body = body!(Hello<'_>);
            Ok(ClientFrame::Hello { token: body.token, client: body.client, since: body.since.0 })
        }
        "join" => {
            let id = needs_id()?;
            Ok(ClientFrame::Join { id, groups: body!(Groups<'_>).groups.0 })
        }
        "leave" => {
            let id = needs_id()?;
            Ok(ClientFrame::Leave { id, groups: body!(Groups<'_>).groups.0 })
        }
        "send" => {
            let id = needs_id()?;
            let Send { group, data, echo, key } = body!(Send<'_>);
            Ok(ClientFrame::Send { id, group, data, echo, key })
        }
        "call" => {
            let id = needs_id()?;
            let Call { name, data, key } = body!(Call<'_>);
            Ok(ClientFrame::Call { id, name, data, key })
        }
        "auth" => {
            let id = needs_id()?;
            Ok(ClientFrame::Auth { id, token: body!(Auth<'_>).token })
        }
        "pong" => Ok(ClientFrame::Pong),
        other => Err(unusable(format!(
            "type {:?} is not known; hello, join, leave, send, call, auth and pong are",
            other.chars().take(40).collect::<String>()
        ))),
    }
}

/// The name of a call in the plain protocol: its `action`, else its `type`.
///
/// `None` = not a JSON object with such a string: the frame is no call.
pub fn parse_plain_call(text: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        action: Option<Cow<'a, str>>,
        #[serde(borrow, rename = "type")]
        kind: Option<Cow<'a, str>>,
    }
    let named: Named<'_> = serde_json::from_str(text).ok()?;
    named.action.or(named.kind)
}

/// Largest `id`: what every JavaScript number holds exactly.
const MAX_ID: u64 = (1 << 53) - 1;

/// serde_json appends the place; a client knows its own frame, and the words stay comparable.
fn without_place(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or(message)
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Hello<'a> {
    #[serde(borrow)]
    token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    since: Since<'a>,
}

#[derive(Deserialize)]
struct Groups<'a> {
    #[serde(borrow)]
    groups: Entries<'a>,
}

#[derive(Deserialize)]
struct Send<'a> {
    #[serde(borrow)]
    group: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
    /// A sender sees its own message, as in every chat that people know.
    #[serde(default = "yes")]
    echo: bool,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Auth<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
}

fn yes() -> bool {
    true
}
