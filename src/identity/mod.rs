//! Who somebody is and what they may do: tokens, grants, API keys. Pure: no I/O, no clock of its own.
//!
//! Time is handed in as seconds since 1970, so that whoever calls decides what "now" is and every
//! edge can be tested. The only room that knows jsonwebtoken.

mod admit;
mod api_keys;
mod claims;
mod error;
mod explain;
mod keys;
mod pattern_template;
mod policy;
mod refusal;
mod settings;
mod sign;
mod template;
#[cfg(test)]
mod tests;
mod tokens;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::group::{GroupName, GroupPattern};

pub use admit::{MAX_SESSION_LEN, MAX_SUB_LEN, MAX_TOLD, Vouched};
pub use api_keys::{ApiKey, ApiKeys, MIN_API_SECRET_LEN};
pub use error::IdentityError;
pub use explain::{Explanation, Finding, Source};
pub use keys::{ALGORITHMS, MIN_SECRET_LEN};
pub use pattern_template::PatternTemplate;
pub use policy::Policy;
pub use refusal::Refusal;
pub use settings::{
    ApiKeySettings, GrantRule, KeySettings, MAX_LEEWAY, Right, Settings, UnknownRight,
};
pub use sign::sign;
pub use template::{FillError, Template, TemplateError};
pub use tokens::{MAX_TOKEN_LEN, Verifier};

/// What can be granted on a group or a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Become a member of the group.
    Join,
    /// Publish to the group from a WebSocket.
    Send,
    /// Ask the back end (the name is the call's, not a group's).
    Call,
    /// See who is in the group.
    Presence,
    /// Read the group's past.
    History,
}

/// A word that names no [`Operation`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operation {0:?} is unknown; join, send, call, presence and history are allowed")]
pub struct UnknownOperation(pub String);

/// Somebody whose token was accepted.
///
/// There is one per connection, so it is 32 bytes and, as long as the token brings nothing but a
/// `sub`, one heap allocation. Cloning shares both.
#[derive(Clone)]
pub struct Identity {
    /// The token's `sub`: 1 to 255 bytes without control characters.
    pub sub: Arc<str>,
    /// The first second, since 1970, at which the token no longer counts: its `exp` plus leeway;
    /// [`NEVER`] for a back end's word without an end.
    pub expires_at: u64,
    /// What the token brought beside its `sub`; most bring nothing.
    carried: Option<Arc<Carried>>,
}

/// The end of an identity that does not run out by itself.
pub const NEVER: u64 = u64::MAX;

/// Rights and claims that came with a token.
#[derive(Debug, Default)]
struct Carried {
    /// Joined by the server at connect; may also be joined by hand.
    groups: Box<[GroupName]>,
    grants: Box<[(Operation, GroupPattern)]>,
    /// Only claims that some configured template names.
    claims: Box<[(Box<str>, Box<str>)]>,
    /// Only of somebody whom the back end vouches for.
    word: Option<Box<Word>>,
}

/// What the back end said of somebody and is told again.
#[derive(Debug)]
struct Word {
    session: Option<Box<str>>,
    claims: Box<RawValue>,
}

impl Operation {
    /// Every operation, in the order in which they are declared.
    pub const ALL: [Self; 5] = [Self::Join, Self::Send, Self::Call, Self::Presence, Self::History];

    /// The word for it in tokens and in the configuration.
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
    /// The value that a template's `{name}` stands for: `sub`, or a claim that was kept.
    pub fn value(&self, name: &str) -> Option<&str> {
        if name == "sub" {
            return Some(&self.sub);
        }
        let claims = &self.carried.as_deref()?.claims;
        claims.iter().find(|(claim, _)| **claim == *name).map(|(_, value)| &**value)
    }

    /// The back end's name for the session, if it vouches for this identity and gave one.
    pub fn session(&self) -> Option<&str> {
        self.carried.as_deref()?.word.as_deref()?.session.as_deref()
    }

    /// The claims as the back end is told them: its own, as it gave them, else those of the token
    /// that were kept, as text.
    pub fn claims(&self) -> impl Serialize + '_ {
        ClaimsOf(self.carried.as_deref())
    }

    /// Groups that the server joins for this connection: the token's, then the route's, each once.
    ///
    /// `parameters` are the path's. In a route's templates a parameter stands before a claim of the
    /// same name, since the route declares both lines; `sub` is always the token's.
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
        self.carried.as_deref().map_or(&[], |carried| &carried.groups)
    }

    fn token_grants(&self) -> &[(Operation, GroupPattern)] {
        self.carried.as_deref().map_or(&[], |carried| &carried.grants)
    }
}

/// A JSON object of claims.
struct ClaimsOf<'a>(Option<&'a Carried>);

impl Serialize for ClaimsOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.map(|carried| (&carried.claims, carried.word.as_deref())) {
            Some((_, Some(word))) => word.claims.serialize(serializer),
            Some((kept, None)) => serializer.collect_map(kept.iter().map(|(n, v)| (n, v))),
            None => serializer.collect_map(std::iter::empty::<(&str, &str)>()),
        }
    }
}

impl fmt::Debug for Identity {
    /// Without the values of claims: they are payload, and this ends up in logs.
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

    fn from_str(word: &str) -> Result<Self, UnknownOperation> {
        let found = Self::ALL.into_iter().find(|operation| operation.as_str() == word);
        found.ok_or_else(|| UnknownOperation(excerpt(word)))
    }
}

/// At most 60 characters of a value from outside, for error texts and logs.
fn excerpt(value: &str) -> String {
    const MOST: usize = 60;
    match value.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
