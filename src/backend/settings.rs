//! The settings of requests to the back end, and their checks.

use std::fmt;
use std::time::Duration;

/// Shortest signing secret, bytes: the length of the digest (RFC 2104, section 3).
pub const MIN_SECRET_LEN: usize = 32;

/// Address, paths and bounds of requests to the back end.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `http://host:port`; empty = there is no back end.
    pub url: String,
    /// Path of the connect hook; empty = no hook, tokens only.
    pub connect: String,
    /// Path that calls are posted to; empty = no calls.
    pub calls: String,
    /// Time for one request, connecting and the whole answer included.
    pub timeout: Duration,
    /// Most concurrent requests to the hook; more wait.
    pub parallel: usize,
    /// Most concurrent calls; more wait.
    pub calls_parallel: usize,
    /// How long an accepting answer of the hook is cached.
    pub cache: Duration,
    /// How long a refusal of the hook is cached.
    pub cache_refusals: Duration,
    /// After how long the hook is asked again about a connection whose answer had no `expires_in`.
    pub recheck: Duration,
    /// Whether the hook refuses a visitor by a bare 401 or 403, without a `code` in JSON.
    pub bare_refusals: bool,
    /// The only values of `Host`, without a port, with which the hook is asked about visitors; one
    /// that begins with a dot stands for its subdomains, too. Empty = any.
    pub allowed_hosts: Vec<String>,
    /// Added to every request; they replace headers of the same name.
    pub headers: Vec<(String, String)>,
    /// `Host` of calls; empty = the url's. Hooks carry the browser's.
    pub host: String,
    /// Keys that the back end knows; the first signs.
    pub keys: Vec<SigningKey>,
}

/// A secret shared with the back end.
#[derive(Clone)]
pub struct SigningKey {
    /// Sent with each signature, so that secrets can be rotated: 1 to 40 of letters, digits, `-`,
    /// `_` and `.`.
    pub id: String,
    /// At least [`MIN_SECRET_LEN`] bytes.
    pub secret: Vec<u8>,
}

/// Why settings are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// Not the address of a server.
    #[error("url {0:?} is not http://host:port; a path, a user or https are not supported")]
    Url(String),
    /// Not a path.
    #[error("path {0:?} is not a path such as /groupcast/connect, without ? and #")]
    Path(String),
    /// Not a host.
    #[error("host {0:?} is not host or host:port")]
    Host(String),
    /// Not a header, or one that the gateway sets.
    #[error("header {0:?} cannot be set: {1}")]
    Header(String, &'static str),
    /// No signing key.
    #[error("no signing key; one with a secret of at least {MIN_SECRET_LEN} bytes is needed")]
    NoKey,
    /// An illegal key id.
    #[error("key id {0:?} is not 1 to 40 of letters, digits, '-', '_' and '.'")]
    KeyId(String),
    /// Two keys with one id.
    #[error("key id {0:?} is given twice; ids must differ")]
    KeyTwice(String),
    /// A secret that is too short.
    #[error("the secret of key {id:?} has {found} bytes; at least {MIN_SECRET_LEN} are needed")]
    ShortSecret {
        /// The key's id.
        id: String,
        /// The secret's length.
        found: usize,
    },
}

impl Settings {
    /// Whether a connect hook is configured.
    pub fn has_hook(&self) -> bool {
        !self.url.is_empty() && !self.connect.is_empty()
    }

    /// Whether calls are configured.
    pub fn has_calls(&self) -> bool {
        !self.url.is_empty() && !self.calls.is_empty()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: String::new(),
            connect: "/groupcast/connect".to_owned(),
            calls: "/groupcast/call".to_owned(),
            timeout: Duration::from_secs(5),
            parallel: 4,
            calls_parallel: 32,
            cache: Duration::from_secs(60),
            cache_refusals: Duration::from_secs(15),
            recheck: Duration::from_secs(600),
            bare_refusals: false,
            allowed_hosts: Vec::new(),
            headers: Vec::new(),
            host: String::new(),
            keys: Vec::new(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}
