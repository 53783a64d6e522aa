//! Refusals of requests: the codes of every `error`.

/// The refusal of a request; the body of every `error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people: what is wrong, the value, what is allowed.
    pub message: String,
}

impl Refusal {
    /// A refusal with its message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The code of a refusal. Clients decide by it alone, so each code has one value of `retry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The frame is invalid: a member is missing or of the wrong type, or the `type` is unknown.
    BadRequest,
    /// The group name is illegal, perhaps because of a token or a parameter.
    IllegalName,
    /// The `data` of a `send` is not an event.
    InvalidEvent,
    /// The event or the call exceeds its byte limit.
    TooLarge,
    /// The key was used for something else within its window.
    DuplicateKey,
    /// The token of an `auth` is not accepted; the old one stays valid until it expires.
    Unauthorized,
    /// No grant for it.
    Forbidden,
    /// The connection is in as many groups as it may be.
    TooManyGroups,
    /// The connection is not in the group.
    NotJoined,
    /// Calls are not configured.
    NoBackend,
    /// The back end knows no call of this name.
    NotFound,
    /// The call conflicts with the current state.
    Conflict,
    /// The back end accepts no more calls of this user for now.
    Limited,
    /// The back end refused the call in another way, or its answer was invalid.
    CallFailed,
    /// The layer or the back end cannot be reached, or too many requests are waiting.
    Unavailable,
    /// No answer in time. The request may have been carried out, so a safe repetition needs a
    /// `key`.
    Timeout,
}

impl Code {
    /// Every code, to check the documentation and the client's table against.
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
