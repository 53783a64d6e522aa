//! What the layer is told: which of the two it is, and how to reach Redis.

use std::fmt;
use std::time::Duration;

use super::LayerError;
use super::history::History;
use super::redis::check_url;
use crate::group::GroupPattern;

/// The layer of one instance.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What it is made of.
    pub kind: Kind,
    /// Which groups keep a history. The same in all instances of a cluster.
    pub history: History,
}

/// What carries publications between instances.
#[derive(Debug, Clone, Default)]
pub enum Kind {
    /// This process: one instance.
    #[default]
    Memory,
    /// Redis: any number of instances.
    Redis(RedisSettings),
}

/// How to reach Redis, and how patient to be.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://[user[:password]@]host[:port][/database]`. Never shown: it may hold a password.
    url: String,
    /// What every key and channel begins with. Gateways with different clusters on one Redis do not
    /// see each other; pub/sub ignores database numbers, so the number alone does not part them.
    pub cluster: String,
    /// Longest wait for the answer to a command, and for a connection.
    pub timeout: Duration,
    /// Commands that may wait for the connection before publishers are told to come back.
    pub commands: usize,
    /// Bytes of publications that may wait between the subscription and the hub. More is lost, and
    /// told as a gap: Redis itself drops a subscriber that is 32 MiB behind (`client-output-buffer-limit`).
    pub backlog_bytes: usize,
    /// Channels of a foreign program that are subscribed beside the groups' own.
    pub foreign: Option<External>,
    /// How many mailboxes the groups of a durable source share, if senders may be turned away from them.
    pub boxes: Option<u16>,
    /// Seconds without any instance after which a durable source may have lost what waited in it, so
    /// that nobody can know whether histories are whole; `None` = there is none.
    pub source_expiry: Option<Duration>,
    /// Largest event taken from a bare `PUBLISH`, bytes: those have not passed the door.
    pub max_event_bytes: usize,
}

/// One channel more for each group, of a program that knows nothing of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// What stands before the group's name.
    pub prefix: String,
    /// Whose groups.
    pub groups: Vec<GroupPattern>,
}

impl RedisSettings {
    /// The Redis at `url`, everything else at its default.
    ///
    /// # Errors
    /// [`LayerError::Url`] if it is none that can be used.
    pub fn new(url: &str) -> Result<Self, LayerError> {
        check_url(url)?;
        Ok(Self {
            url: url.to_owned(),
            cluster: "groupcast".to_owned(),
            timeout: Duration::from_secs(2),
            commands: 10_000,
            backlog_bytes: 32 * 1024 * 1024,
            max_event_bytes: 64 * 1024,
            foreign: None,
            boxes: None,
            source_expiry: None,
        })
    }

    /// Where Redis is, password included; not for logs.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("cluster", &self.cluster)
            .field("timeout", &self.timeout)
            .field("commands", &self.commands)
            .field("backlog_bytes", &self.backlog_bytes)
            .field("max_event_bytes", &self.max_event_bytes)
            .finish_non_exhaustive()
    }
}
