//! Why a connection ends, as values: code, words, and whether to come back.

use std::time::Duration;

use crate::frame::Frame;

/// Longest [`Disconnect::reason`], bytes: with the JSON around it (25 bytes) and 13 digits of
/// milliseconds it fits the 123 that a close frame leaves (RFC 6455 section 5.5).
pub const MAX_REASON: usize = 80;

/// The end of a connection.
///
/// Codes follow one rule that a reader can remember: 44xx = don't come back by yourself, 45xx =
/// come back. The reason on the wire is JSON of at most 123 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect {
    /// The close code.
    pub code: u16,
    /// What happened, in lower case and without JSON's special characters.
    pub reason: &'static str,
    /// How long the window is in which the client should come back, if it should.
    pub retry: Option<Duration>,
}

impl Disconnect {
    /// A frame that is not of the protocol: bad JSON, binary, bad UTF-8, no hello first.
    pub const BAD_FRAME: Self = Self::stay_away(4400, "bad frame");
    /// Token missing, wrong or expired. The one exception among 44xx: get a new one, once.
    pub const UNAUTHORIZED: Self = Self::stay_away(4401, "token missing, wrong or expired");
    /// The identity may not do this.
    pub const FORBIDDEN: Self = Self::stay_away(4403, "not allowed");
    /// Another connection took this one's place, or an operator closed it.
    pub const REPLACED: Self = Self::stay_away(4409, "replaced");
    /// A message over the inbound limit.
    pub const TOO_LARGE: Self = Self::stay_away(4413, "message too large");
    /// A fault of the gateway.
    pub const INTERNAL: Self = Self::come_back(4500, "internal error");
    /// The instance is going away.
    pub const DRAINING: Self = Self::come_back(4503, "draining");
    /// The layer cannot be reached, or the back end cannot say who this is.
    pub const UNAVAILABLE: Self = Self::come_back(4503, "temporarily unavailable");
    /// No hello in time.
    pub const NO_HELLO: Self = Self::come_back(4504, "no hello in time");
    /// Nothing was heard, not even an answer to a ping.
    pub const SILENT: Self = Self::come_back(4504, "no answer to pings");
    /// The reader is slower than its groups, and their policy says close.
    pub const SLOW: Self = Self::come_back(4508, "slow consumer");
    /// Too many connections or frames.
    pub const TOO_MANY: Self = Self::come_back(4529, "too many");

    /// Every value above, for the documentation and the client's table to be checked against.
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

    /// The same end, with the window in which to come back.
    pub const fn within(self, window: Duration) -> Self {
        Self { retry: Some(window), ..self }
    }

    /// The same end, with more exact words: what was wrong with this frame. At most
    /// [`MAX_REASON`] bytes, in lower case and without JSON's special characters.
    pub const fn because(self, reason: &'static str) -> Self {
        debug_assert!(is_plain(reason), "a reason is short and needs no escaping");
        Self { reason, ..self }
    }

    /// The end that a back end means by `code`; a code that is none of ours means
    /// [`Self::FORBIDDEN`].
    pub fn of_code(code: u16) -> Self {
        let known = Self::ALL.into_iter().find(|disconnect| disconnect.code == code);
        known.unwrap_or(Self::FORBIDDEN)
    }

    /// Whether a client should come back by itself.
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
