//! Why something asked for is not done: the codes of every `error`, for programs.

/// Why something asked for is not done; the body of every `error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people: what, which value, what is allowed.
    pub message: String,
}

impl Refusal {
    /// A refusal with its words.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What kind of refusal; clients decide by it alone, so a code has one answer to "again?".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The frame cannot be used: a member is missing or of the wrong kind, the type is unknown.
    BadRequest,
    /// No legal group name, or one that a token or a parameter made illegal.
    IllegalName,
    /// The `data` of a `send` is no event.
    InvalidEvent,
    /// The event or the call is over its limit in bytes.
    TooLarge,
    /// The key was used within the window for something else.
    DuplicateKey,
    /// The token of an `auth` is not accepted; the old one goes on until it runs out.
    Unauthorized,
    /// No grant for it.
    Forbidden,
    /// The connection holds as many groups as it may.
    TooManyGroups,
    /// The connection does not hold the group.
    NotJoined,
    /// Calls are not configured.
    NoBackend,
    /// The back end knows no call of this name.
    NotFound,
    /// The call contradicts what has happened meanwhile.
    Conflict,
    /// The back end takes no more calls of this user for now.
    Limited,
    /// The back end refused the call in some other way, or gave an answer that is none.
    CallFailed,
    /// The layer or the back end cannot be reached, or too much waits already.
    Unavailable,
    /// No answer in time. Whether it was done is not known: to ask again safely takes a `key`.
    Timeout,
}

impl Code {
    /// Every code, for the documentation and the client's table to be checked against.
    pub const ALL: [Self; 16] = [
        Self::BadRequest,
        Self::IllegalName,
        Self::InvalidEvent,
        Self::TooLarge,
        Self::DuplicateKey,
        Self::Unauthorized,
        Self::Forbidden,
        Self::TooManyGroups,
        Self::NotJoined,
        Self::NoBackend,
        Self::NotFound,
        Self::Conflict,
        Self::Limited,
        Self::CallFailed,
        Self::Unavailable,
        Self::Timeout,
    ];

    /// The code as it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::IllegalName => "illegal_name",
            Self::InvalidEvent => "invalid_event",
            Self::TooLarge => "too_large",
            Self::DuplicateKey => "duplicate_key",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::TooManyGroups => "too_many_groups",
            Self::NotJoined => "not_joined",
            Self::NoBackend => "no_backend",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Limited => "limited",
            Self::CallFailed => "call_failed",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
        }
    }

    /// Whether the same request may succeed later, unchanged: the `retry` of an `error`.
    pub const fn may_retry(self) -> bool {
        matches!(self, Self::Limited | Self::Unavailable | Self::Timeout)
    }
}
