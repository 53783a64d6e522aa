//! Errors of keys and settings.

use super::limits::{ALGORITHMS, MAX_LEEWAY, MIN_API_SECRET_LEN, MIN_SECRET_LEN};

/// Why a verifier, a set of API keys or a token could not be created. Contains no key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The algorithm is unknown.
    #[error("key {key:?} has the algorithm {algorithm:?}; one of {ALGORITHMS:?} is allowed")]
    UnknownAlgorithm {
        /// The key's id.
        key: String,
        /// What was configured.
        algorithm: String,
    },
    /// Two keys have the same id, so that a `kid` would be ambiguous.
    #[error("key {0:?} is given twice; the ids of keys must differ")]
    DuplicateKey(String),
    /// An HMAC secret is too short to resist guessing.
    #[error("the secret of key {key:?} has {len} bytes; at least {MIN_SECRET_LEN} are needed")]
    ShortSecret {
        /// The key's id.
        key: String,
        /// Its length, bytes.
        len: usize,
    },
    /// An HMAC key is a PEM text: a public key used as a secret.
    #[error(
        "key {key:?} has the algorithm {algorithm} and a PEM text as its secret; a PEM key goes \
         with RS, PS, ES or EdDSA"
    )]
    PemAsSecret {
        /// The key's id.
        key: String,
        /// The configured algorithm.
        algorithm: String,
    },
    /// A private key where a public one is expected.
    #[error("key {0:?} is a private key; tokens are verified with the public one")]
    PrivateKey(String),
    /// The key cannot be read, or is of another kind, curve or size.
    #[error("key {key:?} is not a {expected} for {algorithm}")]
    BadKey {
        /// The key's id.
        key: String,
        /// The configured algorithm.
        algorithm: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The leeway is too long.
    #[error("leeway is {0:?}; at most {MAX_LEEWAY:?} is allowed")]
    Leeway(std::time::Duration),
    /// A claim is given two meanings.
    #[error("claim {0:?} cannot hold groups or grants; it is a registered claim")]
    ReservedClaim(String),
    /// The check at startup failed: the cryptography does not work correctly.
    #[error("key {key:?} failed its check at startup: a token was answered with {found}")]
    SelfCheck {
        /// The key's id.
        key: String,
        /// The verifier's answer.
        found: String,
    },
    /// A token could not be signed.
    #[error("key {key:?} cannot sign: {reason}")]
    Sign {
        /// The key's id.
        key: String,
        /// The cause.
        reason: String,
    },
    /// An API key's secret is too short to resist guessing.
    #[error(
        "the secret of API key {key:?} has {len} bytes; at least {MIN_API_SECRET_LEN} are needed"
    )]
    ShortApiSecret {
        /// The key's name.
        key: String,
        /// Its length, bytes.
        len: usize,
    },
    /// An API key's secret could not travel in an `Authorization` header.
    #[error("the secret of API key {0:?} holds a space or a character that is not visible ASCII")]
    IllegalApiSecret(String),
    /// Two API keys share a name.
    #[error("API key {0:?} is given twice; the names of API keys must differ")]
    DuplicateApiKey(String),
    /// Two API keys have the same secret, so that names in the log would be wrong.
    #[error("API keys {0:?} and {1:?} have the same secret")]
    SharedApiSecret(String, String),
}
