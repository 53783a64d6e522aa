//! Authentication and authorisation: tokens, grants, API keys. Pure: no I/O, no clock of its own.
//!
//! Time is an argument in seconds since 1970, so that tests cover every boundary. The only room
//! that uses jsonwebtoken.

mod admit;
mod api_keys;
mod auth_failure;
mod claims;
mod error;
mod explain;
mod keys;
mod limits;
mod pattern_template;
mod policy;
mod settings;
mod sign;
mod sub;
mod template;
#[cfg(test)]
mod tests;
mod token_error;
mod tokens;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::excerpt::excerpt;
use crate::group::{GroupName, GroupPattern};

pub use admit::{HookClaims, MAX_HOOK_CLAIMS_LEN, MAX_SESSION_LEN};
pub use api_keys::{ApiKey, ApiKeys};
pub use auth_failure::AuthFailure;
pub use error::IdentityError;
pub use explain::{CheckedGrant, Explanation, GrantSource};
use limits::EXCERPT;
pub use limits::{ALGORITHMS, MAX_LEEWAY, MAX_TOKEN_LEN, MIN_API_SECRET_LEN, MIN_SECRET_LEN};
pub use pattern_template::PatternTemplate;
pub use policy::Policy;
pub use settings::{ApiKeySettings, GrantRule, KeySettings, Right, Settings, UnknownRight};
pub use sign::sign;
pub use sub::{MAX_SUB_LEN, SubError, check_sub};
pub use template::{FillError, Template, TemplateError};
pub use token_error::TokenError;
pub use tokens::{Verifier, claimed_sub};

/// What can be granted on a group or a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Join the group.
    Join,
    /// Publish to the group from a WebSocket.
    Send,
    /// Call the back end; the name is that of the call.
    Call,
    /// List the members of the group.
    Presence,
    /// Read the history of the group.
    History,
}

/// Text that names no [`Operation`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operation {0:?} is unknown; join, send, call, presence and history are allowed")]
pub struct UnknownOperation(pub String);

/// The user of a connection, with the rights from the token or the hook.
///
/// There is one per connection, so it has 32 bytes and, if the token has only a `sub`, one heap
/// allocation. Cloning shares it.
#[derive(Clone)]
pub struct Identity {
    /// The token's `sub`: 1 to 255 bytes without control characters.
    pub sub: Arc<str>,
    /// The first second, since 1970, at which the identity is no longer valid: the token's `exp`
    /// plus leeway; [`NEVER`] for a hook's answer without `expires_in`.
    pub expires_at: u64,
    /// Everything except `sub`; most tokens have nothing else.
    details: Option<Arc<IdentityDetails>>,
}

/// The expiry of an identity that does not expire.
pub const NEVER: u64 = u64::MAX;

/// Rights and claims of a token or a hook's answer.
#[derive(Debug, Default)]
struct IdentityDetails {
    /// Joined by the server on connect; the client may also join them.
    groups: Box<[GroupName]>,
    grants: Box<[(Operation, GroupPattern)]>,
    /// Only claims that a configured template names.
    claims: Box<[(Box<str>, Box<str>)]>,
    /// Only of a hook's answer.
    backend: Option<Box<BackendClaims>>,
}

/// The part of the hook's answer for later calls.
#[derive(Debug)]
struct BackendClaims {
    session: Option<Box<str>>,
    claims: Box<RawValue>,
}

impl Operation {
    /// Every operation, in the order in which they are declared.
    pub const ALL: [Self; 5] = [Self::Join, Self::Send, Self::Call, Self::Presence, Self::History];

    /// Its name in tokens and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Send => "send",
            Self::Call => "call",
            Self::Presence => "presence",
            Self::History => "history",
        }
    }
}

impl Identity {
    /// The value of a template's `{name}`: `sub`, or a claim that was kept.
    pub fn value(&self, name: &str) -> Option<&str> {
        if name == "sub" {
            return Some(&self.sub);
        }
        let claims = &self.details.as_deref()?.claims;
        claims.iter().find(|(claim, _)| **claim == *name).map(|(_, value)| &**value)
    }

    /// The back end's name for the session, if the hook's answer had one.
    pub fn session(&self) -> Option<&str> {
        self.details.as_deref()?.backend.as_deref()?.session.as_deref()
    }

    /// The claims sent with calls: the hook's, unchanged, or the stored ones of the token, as text.
    pub fn claims(&self) -> impl Serialize + '_ {
        ClaimsOf(self.details.as_deref())
    }

    /// Groups that the server joins for this connection: the token's, then the route's, each once.
    ///
    /// `parameters` are the path's. In a route's templates a parameter takes precedence over a
    /// claim of the same name; `sub` is always the token's.
    pub fn groups_on_connect(
        &self,
        route_joins: &[Template],
        parameters: &[(String, String)],
    ) -> Result<Vec<GroupName>, FillError> {
        let value = |name: &str| {
            let parameter = parameters.iter().find(|(known, _)| known == name && name != "sub");
            parameter.map(|(_, text)| text.as_str()).or_else(|| self.value(name)).map(Cow::Borrowed)
        };
        let mut groups = Vec::with_capacity(self.token_groups().len() + route_joins.len());
        let mut seen = HashSet::new();
        for group in self.token_groups() {
            if seen.insert(group.clone()) {
                groups.push(group.clone());
            }
        }
        for template in route_joins {
            let group = template.fill(&value)?;
            if seen.insert(group.clone()) {
                groups.push(group);
            }
        }
        Ok(groups)
    }

    fn token_groups(&self) -> &[GroupName] {
        self.details.as_deref().map_or(&[], |details| &details.groups)
    }

    fn token_grants(&self) -> &[(Operation, GroupPattern)] {
        self.details.as_deref().map_or(&[], |details| &details.grants)
    }
}

/// A JSON object of claims.
struct ClaimsOf<'a>(Option<&'a IdentityDetails>);

impl Serialize for ClaimsOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.map(|details| (&details.claims, details.backend.as_deref())) {
            Some((_, Some(backend))) => backend.claims.serialize(serializer),
            Some((kept, None)) => serializer.collect_map(kept.iter().map(|(n, v)| (n, v))),
            None => serializer.collect_map(std::iter::empty::<(&str, &str)>()),
        }
    }
}

impl fmt::Debug for Identity {
    /// Without the values of claims, which must not appear in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("sub", &self.sub)
            .field("expires_at", &self.expires_at)
            .field("groups", &self.token_groups())
            .field("grants", &self.token_grants())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Operation {
    type Err = UnknownOperation;

    fn from_str(text: &str) -> Result<Self, UnknownOperation> {
        let found = Self::ALL.into_iter().find(|operation| operation.as_str() == text);
        found.ok_or_else(|| UnknownOperation(excerpt(text, EXCERPT)))
    }
}
