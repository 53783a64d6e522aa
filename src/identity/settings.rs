//! The settings of keys, grants and API keys.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::excerpt::excerpt;
use crate::group::GroupPattern;

use super::limits::EXCERPT;
use super::{Operation, PatternTemplate};

/// Keys, accepted issuers and audiences, grants, API keys.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Keys that verify tokens; none = only the connect hook authenticates.
    pub keys: Vec<KeySettings>,
    /// Tokens must name one of these in `aud`. Empty = `aud` is not required, and a token that has
    /// one is refused, since it is for another recipient (RFC 7519, 4.1.3).
    pub audience: Vec<String>,
    /// Tokens must come from one of these (`iss`); empty = `iss` is not checked.
    pub issuer: Vec<String>,
    /// Clock difference allowed at `exp` and `nbf`, whole seconds, at most [`super::MAX_LEEWAY`].
    pub leeway: Duration,
    /// Claim with the groups that the server joins at connect: an array of names.
    pub groups_claim: String,
    /// Claim with the token's own grants: `{"join": ["order.*"], "send": "room_1"}`.
    pub grants_claim: String,
    /// Further claims to store, named by templates of routes. Those that `grants` name are stored
    /// anyway.
    pub claims: Vec<String>,
    /// Grants of every token, in addition to its own.
    pub grants: Vec<GrantRule>,
    /// Keys of back ends.
    pub api_keys: Vec<ApiKeySettings>,
}

/// One key, its algorithm fixed here and never taken from a token.
#[derive(Clone)]
pub struct KeySettings {
    /// Matched with the token's `kid`; empty = for tokens without one.
    pub id: String,
    /// One of [`super::ALGORITHMS`].
    pub algorithm: String,
    /// To verify: the HMAC secret, or a public key in PEM. To [`super::sign`]: the HMAC secret, or
    /// a private key in PEM (PKCS #8; RSA also PKCS #1).
    pub material: Vec<u8>,
}

/// One line of the configuration's grants: all of `operations` on all of `names`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRule {
    /// Its key in the configuration, for explanations: `grant[2]`.
    pub origin: String,
    /// What is allowed.
    pub operations: Vec<Operation>,
    /// On which names.
    pub names: Vec<PatternTemplate>,
}

/// One back end's key.
#[derive(Clone)]
pub struct ApiKeySettings {
    /// For logs and metrics; unique.
    pub name: String,
    /// The bearer token: at least [`super::MIN_API_SECRET_LEN`] visible ASCII characters.
    pub secret: String,
    /// Groups that it may send to, manage and read.
    pub groups: Vec<GroupPattern>,
    /// What it may do.
    pub allow: Vec<Right>,
}

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    /// Send to groups.
    Send,
    /// Send to users and single connections.
    SendUser,
    /// Send to all connections.
    SendAll,
    /// Add and remove members.
    Members,
    /// Close connections.
    Close,
    /// Read the state of groups and users.
    Read,
    /// Use the console, which shows groups, users and connections of all names.
    Console,
    /// Revoke tasks of Celery, and have them done again.
    Tasks,
}

/// Text that names no [`Right`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "right {0:?} is unknown; \
     send, send_user, send_all, members, close, read, console and tasks are allowed"
)]
pub struct UnknownRight(pub String);

impl Right {
    /// Every right, in the order in which they are declared.
    pub const ALL: [Self; 8] = [
        Self::Send,
        Self::SendUser,
        Self::SendAll,
        Self::Members,
        Self::Close,
        Self::Read,
        Self::Console,
        Self::Tasks,
    ];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::SendUser => "send_user",
            Self::SendAll => "send_all",
            Self::Members => "members",
            Self::Close => "close",
            Self::Read => "read",
            Self::Console => "console",
            Self::Tasks => "tasks",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            audience: Vec::new(),
            issuer: Vec::new(),
            leeway: Duration::from_secs(5),
            groups_claim: "groups".to_owned(),
            grants_claim: "grants".to_owned(),
            claims: Vec::new(),
            grants: Vec::new(),
            api_keys: Vec::new(),
        }
    }
}

impl fmt::Debug for KeySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySettings")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ApiKeySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeySettings")
            .field("name", &self.name)
            .field("groups", &self.groups)
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Right {
    type Err = UnknownRight;

    fn from_str(text: &str) -> Result<Self, UnknownRight> {
        let found = Self::ALL.into_iter().find(|right| right.as_str() == text);
        found.ok_or_else(|| UnknownRight(excerpt(text, EXCERPT)))
    }
}
