//! The state of one connection.

use std::sync::Arc;

use super::keys::{Membership, OptionalKey};
use super::turn::FrameChain;
use crate::event::{ConnectionId, Except, Stamp};
use crate::frame::Frame;
use crate::hub::command::PostedAt;
use crate::hub::metrics::Protocol;
use crate::hub::report::Dropped;
use crate::hub::request::{Credential, HookIdentity, RequestKind};
use crate::identity::Identity;
use crate::protocol::Encoding;
use crate::socket::ClientSocket;

/// Requests in flight per connection; beyond it reading pauses.
const MAX_IN_FLIGHT: u8 = 16;

/// One connection.
///
/// The order in memory matters: a delivery touches the chain, the encoding, the phase, the count
/// and the beginning of the socket. They come first and share cache lines, since the system call
/// between two connections evicts much of the nearest cache.
#[repr(C)]
pub(in crate::hub) struct Connection {
    /// The frames of this turn for it.
    pub(in crate::hub) chain: FrameChain,
    pub(in crate::hub) encoding: Encoding,
    pub(super) phase: ConnectionPhase,
    /// Bytes of its outbox as they were last counted. Here it takes what would be padding.
    pub(super) counted_bytes: u32,
    pub(in crate::hub) sent: u64,
    pub(in crate::hub) socket: ClientSocket,
    pub(in crate::hub) id: ConnectionId,
    /// The client's last connection, as far as the client says so; most are the first.
    pub(in crate::hub) previous_id: Option<Box<ConnectionId>>,
    pub(in crate::hub) identity: Identity,
    /// Changes posted before it do not apply to it.
    pub(in crate::hub) posted: PostedAt,
    /// Commands accepted up to then do not apply to it either.
    pub(in crate::hub) stamp: Stamp,
    pub(in crate::hub) route: u16,
    /// Requests in flight. Reading pauses at a limit, so they need no queue.
    pub(in crate::hub) in_flight: InFlight,
    /// Its joins that are not answered yet, among those in flight.
    joining: u8,
    /// Its requests that wait in the queue: fewer than may be in flight.
    pub(super) stalled: u16,
    /// Values of the route's path parameters; almost always none.
    pub(in crate::hub) parameters: Option<Box<[(String, String)]>>,
    pub(super) memberships: Vec<Membership>,
    pub(in crate::hub) renewal: Renewal,
    pub(in crate::hub) frames: FrameBudget,
    /// Seconds of the shard's clock: arrival, last input, last ping, next run of its timer.
    pub(in crate::hub) since: u32,
    pub(in crate::hub) last_input: u32,
    pub(in crate::hub) pinged: u32,
    pub(in crate::hub) due: u32,
    /// The user's other connections.
    pub(super) next: OptionalKey,
    pub(super) previous: OptionalKey,
    /// Dropped publications, once there are any.
    pub(in crate::hub) dropped: Option<Box<Dropped>>,
}

/// What every idle connection costs: more must be worth it a hundred thousand times.
const _: () = assert!(size_of::<Connection>() <= 296);

/// The phase of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum ConnectionPhase {
    /// Its first memberships are not answered yet; it is not read.
    Arriving,
    /// It exchanges messages.
    Open,
    /// Its close frame is being sent, and its input is discarded, at most until this second.
    Closing(u32),
    /// Its socket has ended; it is removed at the end of the step.
    Gone,
}

/// How the connection's identity is renewed.
pub(in crate::hub) enum Renewal {
    /// By a new token from the client.
    Token {
        /// Seconds before the token's end at which `auth_due` is sent; 0 once it was.
        announce_before: u8,
    },
    /// By the gateway, which asks the connect hook again.
    Hook(Box<HookRenewal>),
}

/// The stored part of a [`HookIdentity`].
pub(in crate::hub) struct HookRenewal {
    /// Replayed to the hook.
    pub(in crate::hub) request: Arc<[u8]>,
    /// Seconds since 1970.
    pub(in crate::hub) ask_at: u64,
    /// Whether an answer is awaited.
    pub(in crate::hub) is_asked: bool,
    /// Until it is sent.
    pub(in crate::hub) welcome: Option<Frame>,
}

/// A connection's requests that are not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum InFlight {
    /// v1: answers carry ids, so several may be in flight.
    Many {
        /// Calls among them.
        calls: u8,
        /// Joins and sends.
        others: u8,
    },
    /// Plain: one call at a time, since the client cannot match answers to calls.
    One {
        /// Whether a call is in flight.
        busy: bool,
    },
}

/// Frames that a connection may still send: a token bucket in thousandths of a frame.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub) struct FrameBudget {
    left: u32,
    /// Milliseconds of the shard's clock, wrapping after 49 days; differences stay correct.
    filled: u32,
}

impl Connection {
    /// The client has asked to join groups.
    pub(in crate::hub) fn join_begins(&mut self) {
        self.in_flight.begin(RequestKind::Join);
        self.joining += 1;
    }

    /// A join of the client was answered. Its request counts until
    /// [`Connections::request_answered`](super::Connections::request_answered).
    pub(in crate::hub) fn join_ends(&mut self) {
        self.joining = self.joining.saturating_sub(1);
    }

    /// Whether joins of the client are not answered yet.
    pub(in crate::hub) fn is_joining(&self) -> bool {
        self.joining > 0
    }

    /// Takes room for its first memberships and no more: most connections keep the groups that they
    /// begin with, and a first push would take room for four.
    pub(in crate::hub) fn reserve_first_memberships(&mut self, count: usize) {
        if self.memberships.capacity() == 0 {
            self.memberships.reserve_exact(count);
        }
    }

    /// A connection that has just arrived, at this second of the shard's clock.
    pub(in crate::hub) fn new(
        id: ConnectionId,
        socket: ClientSocket,
        identity: Identity,
        encoding: Encoding,
        frames: FrameBudget,
        second: u32,
    ) -> Self {
        Self {
            id,
            previous_id: None,
            socket,
            identity,
            encoding,
            posted: PostedAt(0),
            stamp: Stamp::default(),
            route: 0,
            parameters: None,
            memberships: Vec::new(),
            renewal: Renewal::Token { announce_before: 0 },
            chain: FrameChain::default(),
            phase: ConnectionPhase::Arriving,
            in_flight: InFlight::of(encoding),
            stalled: 0,
            joining: 0,
            frames,
            since: second,
            last_input: second,
            pinged: second,
            due: u32::MAX,
            sent: 0,
            counted_bytes: 0,
            dropped: None,
            next: OptionalKey::NONE,
            previous: OptionalKey::NONE,
        }
    }

    /// Whether it is left out of a publication, itself or as the connection that it replaces.
    pub(in crate::hub) fn is_left_out(&self, except: &Except) -> bool {
        let sub = &*self.identity.sub;
        except.holds(self.id, sub)
            || self.previous_id.as_ref().is_some_and(|it| except.holds_previous(**it, sub))
    }

    pub(in crate::hub) fn is_v1(&self) -> bool {
        self.encoding == Encoding::V1
    }

    pub(in crate::hub) fn protocol(&self) -> Protocol {
        if self.is_v1() { Protocol::V1 } else { Protocol::Plain }
    }

    pub(in crate::hub) fn phase(&self) -> ConnectionPhase {
        self.phase
    }

    pub(in crate::hub) fn memberships(&self) -> &[Membership] {
        &self.memberships
    }

    /// Whether reading is paused. A closing connection is read, since its peer's close is awaited.
    pub(in crate::hub) fn must_wait(&self) -> bool {
        match self.phase {
            ConnectionPhase::Arriving => true,
            ConnectionPhase::Open => self.stalled > 0 || self.in_flight.is_full(),
            ConnectionPhase::Closing(_) | ConnectionPhase::Gone => false,
        }
    }

    /// Whether it is open or arriving.
    pub(in crate::hub) fn is_open(&self) -> bool {
        matches!(self.phase, ConnectionPhase::Arriving | ConnectionPhase::Open)
    }

    pub(in crate::hub) fn is_gone(&self) -> bool {
        self.phase == ConnectionPhase::Gone
    }
}

/// The longest time before the expiry of a token at which `auth_due` is sent.
const AUTH_DUE_SECONDS: u64 = 60;

impl Renewal {
    /// `life`: seconds for which the identity is valid.
    pub(in crate::hub) fn of(credential: Credential, life: u64) -> Self {
        match credential {
            Credential::Token => Self::token(life),
            Credential::Hook(HookIdentity { request, ask_at, welcome }) => {
                Self::Hook(Box::new(HookRenewal { request, ask_at, is_asked: false, welcome }))
            }
        }
    }

    /// Renewed by the client. `auth_due` is sent when a fifth of the token's life is left, since
    /// with a fixed minute it would be sent immediately for tokens that live less.
    pub(in crate::hub) fn token(life: u64) -> Self {
        Self::Token { announce_before: (life / 5).clamp(1, AUTH_DUE_SECONDS) as u8 }
    }

    pub(in crate::hub) fn hook_mut(&mut self) -> Option<&mut HookRenewal> {
        match self {
            Self::Token { .. } => None,
            Self::Hook(hook) => Some(hook),
        }
    }
}

impl HookRenewal {
    pub(in crate::hub) fn is_due(&self, unix: u64) -> bool {
        !self.is_asked && unix >= self.ask_at
    }

    /// The second of the shard's clock at which the renewal is due. `second` is the time at `unix`.
    pub(in crate::hub) fn due(&self, second: u32, unix: u64) -> u32 {
        if self.is_asked {
            return u32::MAX;
        }
        let left = u32::try_from(self.ask_at.saturating_sub(unix)).unwrap_or(u32::MAX);
        second.saturating_add(left)
    }
}

impl InFlight {
    fn of(encoding: Encoding) -> Self {
        match encoding {
            Encoding::V1 => Self::Many { calls: 0, others: 0 },
            Encoding::Plain(_) => Self::One { busy: false },
        }
    }

    /// Whether the next request has to wait for an answer.
    pub(in crate::hub) fn is_full(self) -> bool {
        match self {
            Self::Many { calls, others } => calls + others >= MAX_IN_FLIGHT,
            Self::One { busy } => busy,
        }
    }

    /// Counts a request that is sent.
    pub(in crate::hub) fn begin(&mut self, kind: RequestKind) {
        match (self, kind) {
            (Self::Many { calls, .. }, RequestKind::Call) => *calls += 1,
            (Self::Many { others, .. }, RequestKind::Join | RequestKind::Send) => *others += 1,
            (Self::One { busy }, _) => *busy = true,
        }
    }

    /// Counts a request that is answered.
    pub(in crate::hub) fn end(&mut self, kind: RequestKind) {
        match (self, kind) {
            (Self::Many { calls, .. }, RequestKind::Call) => *calls = calls.saturating_sub(1),
            (Self::Many { others, .. }, RequestKind::Join | RequestKind::Send) => {
                *others = others.saturating_sub(1);
            }
            (Self::One { busy }, _) => *busy = false,
        }
    }

    /// Calls in flight.
    pub(in crate::hub) fn calls(self) -> u32 {
        match self {
            Self::Many { calls, .. } => calls.into(),
            Self::One { busy } => busy.into(),
        }
    }
}

impl FrameBudget {
    pub(in crate::hub) fn full(burst: u32, now_ms: u64) -> Self {
        Self { left: burst.saturating_mul(1000), filled: now_ms as u32 }
    }

    /// Takes one frame from the budget. Returns whether there was one.
    pub(in crate::hub) fn take(&mut self, rate: u32, burst: u32, now_ms: u64) -> bool {
        let passed = (now_ms as u32).wrapping_sub(self.filled);
        self.filled = now_ms as u32;
        let full = burst.saturating_mul(1000);
        self.left = self.left.saturating_add(passed.saturating_mul(rate)).min(full);
        match self.left.checked_sub(1000) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}
