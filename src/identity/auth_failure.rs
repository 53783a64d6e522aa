//! The label of failed authentications and authorisations.

use crate::telemetry::{Counters, Metrics, label};

/// Why a token, key or origin was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthFailure {
    /// Nothing was presented.
    Missing,
    /// `exp` has passed.
    Expired,
    /// `nbf` is in the future.
    NotYet,
    /// Signed with another key, or altered.
    BadSignature,
    /// The header names a different algorithm than the key's.
    WrongAlgorithm,
    /// No key has the token's `kid`.
    UnknownKey,
    /// For another audience.
    WrongAudience,
    /// From another issuer.
    WrongIssuer,
    /// A required claim is missing.
    MissingClaim,
    /// Not a token, or a claim of the wrong form.
    Malformed,
    /// Longer than a token may be.
    TooLarge,
    /// The claims make an illegal group name.
    IllegalName,
    /// The page's origin is not allowed.
    Origin,
    /// The connect hook refused.
    Hook,
    /// The API key is unknown.
    ApiKey,
    /// The API key lacks the right.
    ApiRight,
}

label!(AuthFailure = "cause" {
    Missing = "missing",
    Expired = "expired",
    NotYet = "not_yet",
    BadSignature = "bad_signature",
    WrongAlgorithm = "wrong_algorithm",
    UnknownKey = "unknown_key",
    WrongAudience = "wrong_audience",
    WrongIssuer = "wrong_issuer",
    MissingClaim = "missing_claim",
    Malformed = "malformed",
    TooLarge = "too_large",
    IllegalName = "illegal_name",
    Origin = "origin",
    Hook = "hook",
    ApiKey = "api_key",
    ApiRight = "api_right",
});

impl AuthFailure {
    /// The counters of all of them.
    pub fn counters(metrics: &Metrics) -> Counters<Self> {
        let words = "Tokens, keys and origins that were not accepted.";
        metrics.registry().counters("auth_failures_total", words)
    }
}
