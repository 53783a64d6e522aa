//! What a shard is told, and what it asks for.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::gaps::PossibleGap;
use super::report::{GroupReport, UserReport};
use crate::event::{ConnectionId, Control, Event, Position, Publication, Recovery};
use crate::frame::Frame;
use crate::group::GroupName;
use crate::identity::Identity;
use crate::protocol::outbound::JoinOutcome;
use crate::protocol::{Disconnect, Encoding, Refusal};

/// A connection whose identity is settled, on its way to a shard.
#[derive(Debug)]
pub struct NewConnection {
    /// Given out by [`Hub::next_id`](super::Hub::next_id).
    pub id: ConnectionId,
    /// The socket, behind its handshake.
    pub stream: TcpStream,
    /// Bytes read behind the handshake (and the hello) that belong to the conversation.
    pub leftover: Vec<u8>,
    /// Who it is.
    pub identity: Identity,
    /// How it speaks.
    pub encoding: Encoding,
    /// Index of its route among the hub's routes.
    pub route: u16,
    /// Values of the route's path parameters.
    pub parameters: Vec<(String, String)>,
    /// Groups that it joins on arrival, with the positions it has seen.
    pub groups: Vec<(GroupName, Option<Position>)>,
    /// Set where the back end vouches for it, not a token.
    pub vouch: Option<HookIdentity>,
}

/// The back end's word on a connection, which is asked for again as long as the connection lasts.
#[derive(Debug)]
pub struct HookIdentity {
    /// What to ask with; the hub keeps it and does not look into it. It is what the browser said of
    /// itself, since nobody else could say it again later.
    pub words: Arc<[u8]>,
    /// When to ask, seconds since 1970.
    pub ask_at: u64,
    /// Sent first to a plain connection, in the place of its route's.
    pub welcome: Option<Frame>,
}

/// What a shard is told.
pub(super) enum Command {
    Admit(Box<NewConnection>),
    Deliver(Arc<Publication>),
    Joined(Box<Joined>),
    Answer { to: ConnectionId, frame: Option<Frame> },
    Confirmed { to: ConnectionId, outcome: Confirmation },
    Control(Control),
    PossibleGap(PossibleGap),
    Positions(Option<Arc<[GroupName]>>, oneshot::Sender<Vec<(GroupName, Position)>>),
    LookAtGroup(GroupName, oneshot::Sender<GroupReport>),
    LookAtUser(Arc<str>, oneshot::Sender<(UserReport, Option<Instant>)>),
    LookAtOutboxes(oneshot::Sender<usize>),
    Drain { rate: u32, window: Duration, grace: Duration },
}

/// What the hub wants done elsewhere. It leaves the hub by one bounded channel; requests of one
/// connection stay in order.
#[derive(Debug)]
pub enum Request {
    /// Memberships that wait for the layer; answered with [`Hub::joined`](super::Hub::joined).
    Join(Join),
    /// No member of these groups is left on this shard.
    Release {
        /// The shard.
        shard: usize,
        /// The groups.
        groups: Vec<GroupName>,
    },
    /// A browser publishes; answered with [`Hub::answer`](super::Hub::answer).
    Send(Box<Send>),
    /// The back end's word on a connection is due again; answered with
    /// [`Hub::confirmed`](super::Hub::confirmed).
    Confirm(Confirm),
    /// A browser asks the back end; answered with [`Hub::answer`](super::Hub::answer).
    Call(Box<Call>),
}

/// Memberships that wait for the layer.
#[derive(Debug)]
pub struct Join {
    /// Whose.
    pub to: ConnectionId,
    /// On which shard.
    pub shard: usize,
    /// Repeated by the answer.
    pub ticket: u64,
    /// What the answer is to be.
    pub cause: Cause,
    /// Which, with the positions seen.
    pub groups: Vec<(GroupName, Option<Position>)>,
    /// Those refused already, each with its place among all that were asked for.
    pub refused: Vec<(usize, JoinOutcome)>,
}

/// Why memberships change, and so how the change is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The connection has just arrived: told in `welcome`.
    NewConnection,
    /// The client asked: told with its id.
    Client(u64),
    /// The server did it: told without an id, with this reason.
    Server(&'static str),
}

/// The back end's word on a connection is due again.
#[derive(Debug)]
pub struct Confirm {
    /// On whom.
    pub to: ConnectionId,
    /// On which shard.
    pub shard: usize,
    /// As in [`HookIdentity::words`].
    pub words: Arc<[u8]>,
}

/// The answer to a [`Confirm`].
#[derive(Debug)]
pub enum Confirmation {
    /// It is still somebody.
    StillValid {
        /// Who, with what they may do from now on.
        identity: Identity,
        /// When to ask again, seconds since 1970.
        ask_at: u64,
    },
    /// It is over.
    Ended(Disconnect),
    /// The back end could not say; the last word holds as long as it was meant to.
    Unknown {
        /// In how many seconds to ask again.
        after: u64,
    },
}

/// The layer's answer to a [`Join`].
#[derive(Debug)]
pub struct Joined {
    /// Whose.
    pub to: ConnectionId,
    /// As in the request.
    pub ticket: u64,
    /// As in the request.
    pub cause: Cause,
    /// Where each group stands, or why it cannot be had.
    pub groups: Vec<(GroupName, Result<Recovery, Refusal>)>,
    /// As in the request.
    pub refused: Vec<(usize, JoinOutcome)>,
}

/// A publication by a browser, granted and checked.
#[derive(Debug)]
pub struct Send {
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
pub struct Call {
    /// Who gets the answer.
    pub to: ConnectionId,
    /// On which shard.
    pub shard: usize,
    /// Whose it is.
    pub identity: Identity,
    /// The path that the connection came by.
    pub path: Arc<str>,
    /// Repeated by the answer; `None` = a plain connection.
    pub id: Option<u64>,
    /// Whether it is told of a failure: a plain connection only where its route says so.
    pub notify_errors: bool,
    /// What is asked.
    pub name: Box<str>,
    /// With what.
    pub data: Option<Box<RawValue>>,
    /// Passed on as `Idempotency-Key`.
    pub key: Option<Box<str>>,
}
