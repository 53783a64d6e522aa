//! Who somebody is and what they may do: tokens, grants, API keys. Pure: no I/O, no clock of its own.

use std::sync::Arc;
use std::time::Duration;

use crate::group::{GroupName, GroupPattern};

/// What can be granted on a group or a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// A name or pattern with `{sub}`, `{claim}` or `{parameter}` in it, such as `usuario_{sub}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Box<str>);

/// Somebody whose token was accepted. Small: there is one per connection.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The token's `sub`.
    pub sub: Arc<str>,
    /// When the token runs out, seconds since 1970.
    pub expires_at: u64,
}

/// What the identity room can be told.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Keys that tokens may be signed with.
    pub keys: Vec<KeySettings>,
    /// Tokens must name one of these; empty = `aud` is not asked for.
    pub audience: Vec<String>,
    /// Tokens must come from one of these; empty = `iss` is not asked for.
    pub issuer: Vec<String>,
    /// Clock difference allowed at `exp` and `nbf`; at most 10 s.
    pub leeway: Duration,
    /// What everybody with a token may do, beside what the token itself grants.
    pub grants: Vec<GrantRule>,
    /// Keys of back ends.
    pub api_keys: Vec<ApiKeySettings>,
}

/// One verification key, its algorithm fixed here and never taken from a token.
#[derive(Debug, Clone)]
pub struct KeySettings {
    /// Matched with the token's `kid`; empty = for tokens without one.
    pub id: String,
    /// HS256 … EdDSA.
    pub algorithm: String,
    /// The HMAC secret, or a public key in PEM.
    pub material: Vec<u8>,
}

/// One line of the configuration's grants.
#[derive(Debug, Clone)]
pub struct GrantRule {
    /// What is allowed.
    pub operations: Vec<Operation>,
    /// On which names: templates that may also hold `*`.
    pub names: Vec<Template>,
}

/// One back end's key.
#[derive(Debug, Clone)]
pub struct ApiKeySettings {
    /// For logs and metrics.
    pub name: String,
    /// The bearer token.
    pub secret: String,
    /// Groups that it may send to, manage and read.
    pub groups: Vec<GroupPattern>,
    /// What it may do.
    pub allow: Vec<Right>,
}

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Send to groups.
    Send,
    /// Send to users and single connections.
    SendUser,
    /// Send to everybody.
    SendAll,
    /// Add and remove members.
    Members,
    /// Look at groups and users.
    Read,
}

impl Identity {
    /// Placeholder of the shape that the hub relies on; see the room's own modules.
    pub fn may(&self, _operation: Operation, _name: &GroupName) -> bool {
        false
    }
}
