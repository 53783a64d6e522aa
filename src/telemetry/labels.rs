//! The fixed sets of label values.
//!
//! Rooms have richer types; these are what of them is counted. Telemetry comes before most rooms
//! and cannot name their types, so the rooms map.

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
    /// How a connection speaks.
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
    /// Why a publication did not reach a connection that it was for.
    DropReason = "reason" {
        /// Too many of the group were waiting.
        Capacity = "capacity",
        /// Too many bytes were waiting.
        Bytes = "bytes",
        /// It grew too old while waiting.
        Expired = "expired",
        /// The route lists other events.
        Unlisted = "unlisted",
        /// The connection had not said its hello yet.
        Inactive = "inactive",
        /// The connection ended while it was waiting.
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
        /// `nbf` is to come.
        NotYet = "not_yet",
        /// Signed by somebody else, or altered.
        BadSignature = "bad_signature",
        /// The header names another algorithm than the key's.
        WrongAlgorithm = "wrong_algorithm",
        /// No key has the token's `kid`.
        UnknownKey = "unknown_key",
        /// Meant for somebody else.
        WrongAudience = "wrong_audience",
        /// Issued by somebody else.
        WrongIssuer = "wrong_issuer",
        /// A required claim is not there.
        MissingClaim = "missing_claim",
        /// No token, or a claim of the wrong form.
        Malformed = "malformed",
        /// Longer than a token may be.
        TooLarge = "too_large",
        /// The claims make an illegal group name.
        IllegalName = "illegal_name",
        /// The page is from somewhere else.
        Origin = "origin",
        /// The connect hook said no.
        Hook = "hook",
        /// No back end has this key.
        ApiKey = "api_key",
        /// The key may not do this.
        ApiRight = "api_right",
    }
}

label! {
    /// Why a call of a client came to nothing. Plain clients are not told, so it is counted.
    CallFailure = "reason" {
        /// A plain frame that names nothing to call.
        NotACall = "not_a_call",
        /// No grant for it.
        Forbidden = "forbidden",
        /// No back end is configured.
        NoBackend = "no_backend",
        /// Too many calls wait already.
        Busy = "busy",
        /// Too many calls of this user are under way.
        Limited = "limited",
        /// The back end refused it (4xx).
        Refused = "refused",
        /// The back end failed at it (5xx).
        Failed = "failed",
        /// The back end did not answer in time.
        Timeout = "timeout",
        /// The back end cannot be reached.
        Unreachable = "unreachable",
        /// The back end answered something that is no answer to a call.
        BadAnswer = "bad_answer",
    }
}

label! {
    /// How a request to the back end ended.
    BackendOutcome = "outcome" {
        /// It did what was asked, or said who it is.
        Accepted = "accepted",
        /// It refused (4xx).
        Refused = "refused",
        /// It failed (5xx), or its answer is of no use.
        Failed = "failed",
        /// It did not answer in time.
        Timeout = "timeout",
        /// It cannot be reached.
        Unreachable = "unreachable",
    }
}

label! {
    /// Where the word on a connection came from.
    HookSource = "source" {
        /// The back end was asked.
        Asked = "asked",
        /// It was asked for another connection at the same moment.
        Shared = "shared",
        /// It was asked a short while ago.
        Cached = "cached",
        /// Another instance asked a short while ago.
        Recalled = "recalled",
        /// Nobody was asked: too many wait, or the back end does not answer anybody.
        Nowhere = "nowhere",
    }
}

label! {
    /// What became of an entry of a durable source.
    EntryFate = "fate" {
        /// Sent to the group, user or connection that it was for.
        Sent = "sent",
        /// Waits for somebody to listen again.
        Parked = "parked",
        /// Nobody listens, nor did lately.
        NoListener = "no_listener",
        /// Removed without being sent: it says nothing, or was sent before.
        Removed = "removed",
        /// Another instance was faster.
        TakenElsewhere = "taken_elsewhere",
        /// Stays where it is; counted each time.
        LeftInSource = "left_in_source",
    }
}

label! {
    /// Why Django's consumers were not sent an event.
    DjangoDrop = "reason" {
        /// Too many events waited to be sent.
        Queue = "queue",
        /// Its `type` names no handler of a project.
        Type = "type",
        /// A mailbox was at Django's capacity; counted for each mailbox.
        Capacity = "capacity",
        /// Redis refused, or did not answer; then it may have been sent.
        Redis = "redis",
    }
}

label! {
    /// Why a connection was turned away at the front door.
    RefusalReason = "reason" {
        /// The instance is full.
        Full = "full",
        /// The user has too many connections.
        User = "user",
        /// No route has the path.
        NoRoute = "no_route",
        /// The request is no WebSocket handshake.
        BadHandshake = "bad_handshake",
        /// Token or origin were not accepted; [`AuthFailure`] says why.
        Unauthorized = "unauthorized",
        /// The headers did not come in time.
        Timeout = "timeout",
        /// It was silent while others needed its place.
        Silent = "silent",
        /// The instance is going away.
        Draining = "draining",
        /// The back end could not say who it is.
        Backend = "backend",
    }
}

impl AuthFailure {
    /// The value whose text is `cause`, such as one of the identity room's words.
    pub fn from_cause(cause: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|failure| failure.text() == cause)
    }
}
