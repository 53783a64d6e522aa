//! Reasons for closing a connection, as values: code, default text, whether to reconnect.

use std::time::Duration;

use crate::frame::Frame;

/// Longest [`Disconnect::reason`], bytes: with the JSON around it (25 bytes) and 13 digits of
/// milliseconds it fits the 123 that a close frame leaves (RFC 6455 section 5.5).
pub const MAX_REASON: usize = 80;

/// The end of a connection.
///
/// Codes follow one rule: 44xx = do not reconnect automatically, 45xx = reconnect. The reason on
/// the wire is JSON of at most 123 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect {
    /// The close code.
    pub code: u16,
    /// What happened, in lower case and without JSON's special characters.
    pub reason: &'static str,
    /// The window in which the client should reconnect, if it should.
    pub retry: Option<Duration>,
}

impl Disconnect {
    /// A frame that violates the protocol: bad JSON, binary, bad UTF-8, no hello first.
    pub const BAD_FRAME: Self = Self::stay_away(4400, "bad frame");
    /// Token missing, wrong or expired. The exception among 44xx: get a new one, once.
    pub const UNAUTHORIZED: Self = Self::stay_away(4401, "token missing, wrong or expired");
    /// The identity may not do this.
    pub const FORBIDDEN: Self = Self::stay_away(4403, "not allowed");
    /// Another connection replaced this one, or an operator closed it.
    pub const REPLACED: Self = Self::stay_away(4409, "replaced");
    /// A message over the inbound limit.
    pub const TOO_LARGE: Self = Self::stay_away(4413, "message too large");
    /// An error in the gateway.
    pub const INTERNAL: Self = Self::come_back(4500, "internal error");
    /// The instance is shutting down.
    pub const DRAINING: Self = Self::come_back(4503, "draining");
    /// The layer cannot be reached, or the connect hook failed.
    pub const UNAVAILABLE: Self = Self::come_back(4503, "temporarily unavailable");
    /// No hello in time.
    pub const NO_HELLO: Self = Self::come_back(4504, "no hello in time");
    /// Nothing was received, not even an answer to a ping.
    pub const SILENT: Self = Self::come_back(4504, "no answer to pings");
    /// The reader is slower than its groups, and their policy, a full queue of replies or the bound
    /// on all outboxes closes it.
    pub const SLOW: Self = Self::come_back(4508, "slow consumer");
    /// Too many connections or frames.
    pub const TOO_MANY: Self = Self::come_back(4529, "too many");

    /// Every value above, to check the documentation and the client's table against.
    pub const ALL: [Self; 12] = [
        Self::BAD_FRAME,
        Self::UNAUTHORIZED,
        Self::FORBIDDEN,
        Self::REPLACED,
        Self::TOO_LARGE,
        Self::INTERNAL,
        Self::DRAINING,
        Self::UNAVAILABLE,
        Self::NO_HELLO,
        Self::SILENT,
        Self::SLOW,
        Self::TOO_MANY,
    ];

    const fn stay_away(code: u16, reason: &'static str) -> Self {
        assert!(code / 100 == 44 && is_plain(reason), "44xx: stay away by yourself");
        Self { code, reason, retry: None }
    }

    const fn come_back(code: u16, reason: &'static str) -> Self {
        assert!(code / 100 == 45 && is_plain(reason), "45xx: come back");
        Self { code, reason, retry: None }
    }

    /// The same, with a window in which to reconnect.
    pub const fn within(self, window: Duration) -> Self {
        Self { retry: Some(window), ..self }
    }

    /// The same, with a more exact reason. At most [`MAX_REASON`] bytes, in lower case and without
    /// JSON's special characters.
    pub const fn because(self, reason: &'static str) -> Self {
        debug_assert!(is_plain(reason), "a reason is short and needs no escaping");
        Self { reason, ..self }
    }

    /// The value for a back end's `code`. An unknown code means [`Self::FORBIDDEN`].
    pub fn of_code(code: u16) -> Self {
        let known = Self::ALL.into_iter().find(|disconnect| disconnect.code == code);
        known.unwrap_or(Self::FORBIDDEN)
    }

    /// Whether a client should reconnect automatically.
    pub const fn may_return(&self) -> bool {
        self.code >= 4500
    }

    /// The close frame, with `{"reason":"…"}` or `{"reason":"…","retry_ms":5000}`.
    pub fn frame(&self) -> Frame {
        let reason = match self.retry {
            Some(window) => {
                format!(r#"{{"reason":"{}","retry_ms":{}}}"#, self.reason, window.as_millis())
            }
            None => format!(r#"{{"reason":"{}"}}"#, self.reason),
        };
        Frame::close(self.code, &reason)
    }
}

const fn is_plain(reason: &str) -> bool {
    let bytes = reason.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        if !matches!(bytes[i], b' '..=b'~') || matches!(bytes[i], b'"' | b'\\') {
            return false;
        }
        i += 1;
    }
    bytes.len() <= MAX_REASON
}
