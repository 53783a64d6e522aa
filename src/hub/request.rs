//! Values between the hub and its callers: connections in, requests out, answers in.

use std::net::TcpStream;
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::event::{ConnectionId, Event, Position, Recovery, Stamp};
use crate::frame::Frame;
use crate::group::GroupName;
use crate::identity::Identity;
use crate::protocol::outbound::{self, JoinOutcome};
use crate::protocol::{Disconnect, Encoding, Refusal};

/// An authenticated connection to be handed to a shard.
#[derive(Debug)]
pub(crate) struct NewConnection {
    /// Given out by [`Hub::next_id`](super::Hub::next_id).
    pub id: ConnectionId,
    /// The client's last connection, which it claims to continue.
    pub previous: Option<ConnectionId>,
    /// The socket, after its handshake.
    pub stream: TcpStream,
    /// Bytes read after the handshake (and the hello).
    pub leftover: Vec<u8>,
    /// Who it is.
    pub identity: Identity,
    /// Its protocol and shape.
    pub encoding: Encoding,
    /// Index of its route among the hub's routes.
    pub route: u16,
    /// Values of the route's path parameters.
    pub parameters: Vec<(String, String)>,
    /// Groups that it joins on arrival, with the positions it has seen.
    pub groups: Vec<(GroupName, Option<Position>)>,
    /// How it was authenticated.
    pub credential: Credential,
    /// Commands accepted after its identity was checked are greater.
    pub stamp: Stamp,
}

/// How a connection was authenticated, and so how its identity is renewed.
#[derive(Debug)]
pub(crate) enum Credential {
    /// By a token, which the client renews.
    Token,
    /// By the connect hook, which the gateway asks again while the connection is open.
    Hook(HookIdentity),
}

/// What is kept of the connect hook's answer.
#[derive(Debug)]
pub(crate) struct HookIdentity {
    /// The stored hook request, opaque to the hub. It holds what the browser sent, which only the
    /// browser could send again.
    pub request: Arc<[u8]>,
    /// When to ask, seconds since 1970.
    pub ask_at: u64,
    /// Sent first to a plain connection, in the place of its route's.
    pub welcome: Option<Frame>,
}

/// Requests of the hub to other rooms. They leave by bounded channels, one per kind, so that no
/// kind waits for another. Within a kind they stay in order.
#[derive(Debug)]
pub(crate) struct Requests {
    /// Groups to be joined and released.
    pub memberships: mpsc::Receiver<MembershipRequest>,
    /// Publications by browsers; answered with [`Hub::answer`](super::Hub::answer).
    pub sends: mpsc::Receiver<Box<Send>>,
    /// Calls of browsers to the back end; answered with [`Hub::answer`](super::Hub::answer).
    pub calls: mpsc::Receiver<Box<Call>>,
    /// Requests to ask the hook about connections again; answered with
    /// [`Hub::confirmed`](super::Hub::confirmed).
    pub confirmations: mpsc::Receiver<Confirm>,
}

/// A change of the groups that a shard has members of. One kind: a release must not overtake a
/// join.
#[derive(Debug)]
pub(crate) enum MembershipRequest {
    /// Memberships that wait for the layer; answered with [`Hub::joined`](super::Hub::joined).
    Join(Join),
    /// No member of these groups is left on this shard.
    Release {
        /// The shard.
        shard: usize,
        /// The groups.
        groups: Vec<GroupName>,
    },
}

/// Memberships that wait for the layer.
#[derive(Debug)]
pub(crate) struct Join {
    /// Whose.
    pub to: ConnectionId,
    /// Of which user.
    pub sub: Arc<str>,
    /// On which shard.
    pub shard: usize,
    /// Repeated by the answer.
    pub ticket: u64,
    /// Decides how the answer is sent.
    pub cause: Cause,
    /// The groups, with the positions last seen.
    pub groups: Vec<(GroupName, Option<Position>)>,
    /// Groups that were already refused, each with its index among all requested.
    pub refused: Vec<(usize, JoinOutcome)>,
}

/// Why memberships change, and so how the client is notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The connection has just arrived: answered in `welcome`.
    NewConnection,
    /// A request of the client: answered with its id.
    Client(u64),
    /// The server: sent without an id, with this reason.
    Server(&'static str),
}

/// A request to ask the hook about a connection again.
#[derive(Debug)]
pub(crate) struct Confirm {
    /// The connection to confirm.
    pub to: ConnectionId,
    /// On which shard.
    pub shard: usize,
    /// As in [`HookIdentity::request`].
    pub request: Arc<[u8]>,
}

/// The answer to a [`Confirm`].
#[derive(Debug)]
pub(crate) enum Confirmation {
    /// The user is still authenticated.
    StillValid {
        /// Who it is, with the grants from now on.
        identity: Identity,
        /// When to ask again, seconds since 1970.
        ask_at: u64,
    },
    /// The user is not authenticated or not allowed any more.
    Ended(Disconnect),
    /// The hook failed; its last answer stays valid until it expires.
    Unknown {
        /// In how many seconds to ask again.
        after: u64,
    },
}

/// The layer's answer to a [`Join`].
#[derive(Debug)]
pub(crate) struct Joined {
    /// Whose.
    pub to: ConnectionId,
    /// As in the request.
    pub ticket: u64,
    /// As in the request.
    pub cause: Cause,
    /// Each group's position and replay, or why it cannot be joined.
    pub groups: Vec<(GroupName, Result<Recovery, Refusal>)>,
    /// As in the request.
    pub refused: Vec<(usize, JoinOutcome)>,
}

/// A publication by a browser, granted and checked.
#[derive(Debug)]
pub(crate) struct Send {
    /// Who gets the answer.
    pub to: ConnectionId,
    /// On which shard.
    pub shard: usize,
    /// Whose it is.
    pub sub: Arc<str>,
    /// Repeated by the answer.
    pub id: u64,
    /// Where to.
    pub group: GroupName,
    /// What.
    pub event: Event,
    /// Whether the sender gets it too.
    pub echo: bool,
    /// Deduplicates per (`sub`, key).
    pub key: Option<Box<str>>,
}

/// A question to the back end, granted.
#[derive(Debug)]
pub(crate) struct Call {
    /// Who gets the answer.
    pub to: ConnectionId,
    /// On which shard.
    pub shard: usize,
    /// Whose it is.
    pub identity: Identity,
    /// The path that the connection came by.
    pub path: Arc<str>,
    /// How it is answered.
    pub reply: ReplyFormat,
    /// What is called.
    pub name: Box<str>,
    /// With what.
    pub data: Option<Box<RawValue>>,
    /// Passed on as `Idempotency-Key`.
    pub key: Option<Box<str>>,
}

/// How calls of a connection are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyFormat {
    /// A `result` or `error` with the id of the call.
    V1 {
        /// Repeated by the answer.
        id: u64,
    },
    /// A bare text frame with the result, if there is one.
    Plain {
        /// Whether errors are sent, too: a setting of the route.
        errors: bool,
    },
}

impl ReplyFormat {
    /// Whether it is of a plain connection, whose calls name themselves within their data.
    pub(crate) fn is_plain(self) -> bool {
        matches!(self, Self::Plain { .. })
    }

    /// The frame of a call that was answered; a plain client gets none without a result.
    pub(crate) fn result(self, result: Option<&RawValue>) -> Option<Frame> {
        match self {
            Self::V1 { id } => Some(outbound::result(id, result.unwrap_or(RawValue::NULL))),
            Self::Plain { .. } => result.map(|result| Frame::text(result.get().as_bytes())),
        }
    }

    /// The frame of a call that failed with a code of the site's or ours.
    pub(crate) fn error(self, code: &str, message: &str, retry: bool) -> Option<Frame> {
        match self {
            Self::V1 { id } => Some(outbound::call_error(Some(id), code, message, retry)),
            Self::Plain { errors } => {
                errors.then(|| outbound::call_error(None, code, message, retry))
            }
        }
    }

    /// The frame of a call that the gateway refuses.
    pub(super) fn refusal(self, refusal: &Refusal) -> Option<Frame> {
        match self {
            Self::V1 { id } => Some(outbound::error(Some(id), refusal)),
            Self::Plain { errors } => errors.then(|| outbound::error(None, refusal)),
        }
    }
}

/// The answer to a [`Send`] or a [`Call`].
#[derive(Debug)]
pub(crate) struct Answer {
    /// Whose.
    pub to: ConnectionId,
    /// What was answered.
    pub kind: RequestKind,
    /// What is sent; `None` = nothing.
    pub frame: Option<Frame>,
}

/// A client's request that is served elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// Memberships.
    Join,
    /// A publication.
    Send,
    /// A question to the back end.
    Call,
}
