//! The fixed sets of label values.
//!
//! Telemetry comes before most rooms and cannot name their types, so rooms map their types to
//! these.

use super::Label;
use crate::event::TargetKind;

macro_rules! label {
    (
        $(#[$doc:meta])*
        $label:ident = $name:literal { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $label { $($(#[$value_doc])* $value,)+ }

        impl Label for $label {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &[$(Self::$value,)+];

            fn text(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// The protocol of a connection.
    Protocol = "protocol" {
        /// `groupcast.v1.json`.
        V1 = "v1",
        /// Bare events.
        Plain = "plain",
    }
}

impl Label for TargetKind {
    const NAME: &'static str = "target";
    const ALL: &'static [Self] = &[Self::Group, Self::User, Self::Connection, Self::All];

    fn text(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::User => "user",
            Self::Connection => "connection",
            Self::All => "all",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

label! {
    /// Why a publication did not reach a receiver.
    DropReason = "reason" {
        /// The group's capacity in the outbox was exceeded.
        Capacity = "capacity",
        /// The byte limit of the outbox was exceeded.
        Bytes = "bytes",
        /// It expired in the outbox.
        Expired = "expired",
        /// The route does not list the event.
        Unlisted = "unlisted",
        /// The connection had not sent its hello yet.
        Inactive = "inactive",
        /// The connection ended while it was queued.
        Closed = "closed",
    }
}

label! {
    /// Why a token, key or origin was not accepted.
    AuthFailure = "cause" {
        /// Nothing was presented.
        Missing = "missing",
        /// `exp` has passed.
        Expired = "expired",
        /// `nbf` is in the future.
        NotYet = "not_yet",
        /// Signed with another key, or altered.
        BadSignature = "bad_signature",
        /// The header names a different algorithm than the key's.
        WrongAlgorithm = "wrong_algorithm",
        /// No key has the token's `kid`.
        UnknownKey = "unknown_key",
        /// For another audience.
        WrongAudience = "wrong_audience",
        /// From another issuer.
        WrongIssuer = "wrong_issuer",
        /// A required claim is missing.
        MissingClaim = "missing_claim",
        /// Not a token, or a claim of the wrong form.
        Malformed = "malformed",
        /// Longer than a token may be.
        TooLarge = "too_large",
        /// The claims make an illegal group name.
        IllegalName = "illegal_name",
        /// The page's origin is not allowed.
        Origin = "origin",
        /// The connect hook refused.
        Hook = "hook",
        /// The API key is unknown.
        ApiKey = "api_key",
        /// The API key lacks the right.
        ApiRight = "api_right",
    }
}

label! {
    /// Why a call failed. Plain clients are not notified, so it is counted.
    CallFailure = "reason" {
        /// A plain frame that is not a call.
        NotACall = "not_a_call",
        /// No grant for it.
        Forbidden = "forbidden",
        /// No back end is configured.
        NoBackend = "no_backend",
        /// Too many calls are waiting.
        Busy = "busy",
        /// Too many calls of this user are in flight.
        Limited = "limited",
        /// The back end refused it (4xx).
        Refused = "refused",
        /// The back end failed (5xx).
        Failed = "failed",
        /// The back end did not answer in time.
        Timeout = "timeout",
        /// The back end cannot be reached.
        Unreachable = "unreachable",
        /// The back end's answer was invalid.
        BadAnswer = "bad_answer",
    }
}

label! {
    /// The outcome of a request to the back end.
    BackendOutcome = "outcome" {
        /// Carried out, or the user was identified.
        Accepted = "accepted",
        /// It refused (4xx).
        Refused = "refused",
        /// It failed (5xx), or its answer was invalid.
        Failed = "failed",
        /// It did not answer in time.
        Timeout = "timeout",
        /// It cannot be reached.
        Unreachable = "unreachable",
    }
}

label! {
    /// The source of a hook verdict.
    HookSource = "source" {
        /// The back end was asked.
        Asked = "asked",
        /// A request for another connection was in flight.
        Shared = "shared",
        /// Cached by this instance.
        Cached = "cached",
        /// Cached by another instance.
        Recalled = "recalled",
        /// Not asked: too many requests wait, or the circuit breaker is open.
        Nowhere = "nowhere",
    }
}

label! {
    /// The outcome of an entry of a durable source.
    EntryFate = "fate" {
        /// Sent to the group, user or connection that it was for.
        Sent = "sent",
        /// Parked until an instance listens.
        Parked = "parked",
        /// No listener, now or recently.
        NoListener = "no_listener",
        /// Removed without being sent: malformed, or sent before.
        Removed = "removed",
        /// Another instance was faster.
        TakenElsewhere = "taken_elsewhere",
        /// Could not be sent and stays; counted each time.
        LeftInSource = "left_in_source",
    }
}

label! {
    /// Why an event was not sent to Django's consumers.
    DjangoDrop = "reason" {
        /// Too many events waited to be sent.
        Queue = "queue",
        /// Its `type` names no handler.
        Type = "type",
        /// A mailbox was at Django's capacity; counted for each mailbox.
        Capacity = "capacity",
        /// Redis refused it, or did not answer; then it may have been sent.
        Redis = "redis",
    }
}

label! {
    /// Why a connection was refused.
    RefusalReason = "reason" {
        /// The instance is full.
        Full = "full",
        /// The user has too many connections.
        User = "user",
        /// No route has the path.
        NoRoute = "no_route",
        /// The request is no WebSocket handshake.
        BadHandshake = "bad_handshake",
        /// Token or origin were not accepted; see [`AuthFailure`].
        Unauthorized = "unauthorized",
        /// The headers did not arrive in time.
        Timeout = "timeout",
        /// It was silent while others needed its place.
        Silent = "silent",
        /// The instance is shutting down.
        Draining = "draining",
        /// The connect hook failed.
        Backend = "backend",
    }
}

impl AuthFailure {
    /// The value whose text is `cause`.
    pub fn from_cause(cause: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|failure| failure.text() == cause)
    }
}
