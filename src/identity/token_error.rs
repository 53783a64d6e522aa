//! Why a token was refused, for logs and metrics but not for clients.

use std::borrow::Cow;

use super::auth_failure::AuthFailure;
use super::limits::MAX_TOKEN_LEN;
use crate::telemetry::Label;

/// Why a token was refused.
///
/// The texts contain claim names, key ids and group names, never the token or other values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// `exp` has passed.
    #[error("token expired {ago} s ago, at {exp}")]
    Expired {
        /// The token's `exp`, seconds since 1970.
        exp: u64,
        /// Seconds since then.
        ago: u64,
    },
    /// `nbf` is in the future.
    #[error("token not valid before {nbf}, in {ahead} s")]
    NotYet {
        /// The token's `nbf`, seconds since 1970.
        nbf: u64,
        /// Seconds until then.
        ahead: u64,
    },
    /// Signed with another key, or altered.
    #[error("the signature does not match key {key:?}")]
    BadSignature {
        /// Id of the key that was tried.
        key: String,
    },
    /// The header names a different algorithm than the key's.
    #[error("algorithm {found:?}; key {key:?} is for {expected}")]
    WrongAlgorithm {
        /// Id of the key that was chosen.
        key: String,
        /// An excerpt of the header's algorithm.
        found: String,
        /// The key's own algorithm.
        expected: &'static str,
    },
    /// No key has the token's `kid`.
    #[error("{}", unknown_key(.0.as_deref()))]
    UnknownKey(Option<String>),
    /// `aud` names none of the configured ones.
    #[error("audience not accepted")]
    WrongAudience,
    /// `iss` is none of the configured ones.
    #[error("issuer not accepted")]
    WrongIssuer,
    /// A required claim is missing.
    #[error("claim {0:?} is missing")]
    MissingClaim(Cow<'static, str>),
    /// The token, or a claim in use, has the wrong form.
    #[error("malformed: {0}")]
    Malformed(Cow<'static, str>),
    /// The token is longer than [`MAX_TOKEN_LEN`].
    #[error("the token has {0} bytes; at most {MAX_TOKEN_LEN} are allowed")]
    TooLarge(usize),
}

impl TokenError {
    /// What it counts as.
    pub fn failure(&self) -> AuthFailure {
        match self {
            Self::Expired { .. } => AuthFailure::Expired,
            Self::NotYet { .. } => AuthFailure::NotYet,
            Self::BadSignature { .. } => AuthFailure::BadSignature,
            Self::WrongAlgorithm { .. } => AuthFailure::WrongAlgorithm,
            Self::UnknownKey(_) => AuthFailure::UnknownKey,
            Self::WrongAudience => AuthFailure::WrongAudience,
            Self::WrongIssuer => AuthFailure::WrongIssuer,
            Self::MissingClaim(_) => AuthFailure::MissingClaim,
            Self::Malformed(_) => AuthFailure::Malformed,
            Self::TooLarge(_) => AuthFailure::TooLarge,
        }
    }

    /// A stable identifier, for metrics and logs.
    pub fn cause(&self) -> &'static str {
        self.failure().text()
    }

    pub(super) fn malformed(problem: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed(problem.into())
    }
}

fn unknown_key(kid: Option<&str>) -> String {
    match kid {
        Some(kid) => format!("no key has the kid {kid:?}"),
        None => "the token has no kid and no key is configured without an id".to_owned(),
    }
}
