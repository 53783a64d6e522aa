//! Why a broker does not serve.

use std::time::Duration;

use lapin::ErrorKind;

use crate::excerpt::excerpt;

/// Longest wait for a connection, a channel or an answer. A broker that starts accepts before it
/// answers.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// Characters of a broker's words that are shown.
const MAX_WORDS: usize = 300;

/// Why a broker does not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AmqpError {
    /// It cannot be reached, or went.
    #[error("the broker cannot be reached: {0}")]
    Unreachable(String),
    /// Its certificate, or ours, is not accepted, or a file of certificates cannot be used.
    #[error("TLS with the broker fails: {0}")]
    Tls(String),
    /// It answers, and refuses: its own words.
    #[error("the broker refuses: {0}")]
    Refused(String),
    /// It accepts connections, and does not answer within five seconds.
    #[error("the broker does not answer within {} s", TIMEOUT.as_secs())]
    Silent,
    /// No queue takes a message.
    #[error("the broker has no such queue; a worker declares it when it starts")]
    Unroutable,
    /// What was consumed ended, as when a queue is deleted.
    #[error("the broker ended the delivery")]
    Ended,
}

impl From<lapin::Error> for AmqpError {
    fn from(error: lapin::Error) -> Self {
        let words = excerpt(&error.to_string(), MAX_WORDS);
        match error.kind() {
            ErrorKind::ProtocolError(_) => Self::Refused(words),
            _ => Self::Unreachable(words),
        }
    }
}
