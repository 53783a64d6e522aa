//! Settings of the layer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::cluster_keys::ClusterSecrets;
use super::history::History;
use super::{LayerError, RedisAddress};
use crate::group::{GroupName, GroupPattern};

/// The cluster's name if none is configured.
pub(crate) const DEFAULT_CLUSTER: &str = "groupcast";

/// The layer of one instance.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Memory or Redis.
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

/// How to reach Redis, and the bounds of what waits for it.
#[derive(Clone)]
pub struct RedisSettings {
    /// Where it is, and how to log in.
    pub(crate) address: Box<RedisAddress>,
    /// The prefix of every key and channel. Gateways with different clusters on one Redis do not
    /// see each other; pub/sub ignores database numbers, so a number alone does not separate them.
    pub cluster: String,
    /// Longest wait for the answer to a command, and for a connection.
    pub timeout: Duration,
    /// Commands that may wait for the connection; further publications are refused.
    pub commands: usize,
    /// Bytes of publications that may wait between the subscription and the hub. More is lost and
    /// reported as a gap; Redis disconnects a subscriber that is 32 MiB behind
    /// (`client-output-buffer-limit`).
    pub backlog_bytes: usize,
    /// Channels of an external program that are subscribed in addition to the groups' own.
    pub external: Option<External>,
    /// How many shares group names are divided into, if senders can find a share full: then a
    /// group's history ends when its share overflows. See
    /// [`GroupName::share`](crate::group::GroupName::share).
    pub shares: Option<u16>,
    /// How long publications wait outside the layer while no instance runs. After a longer absence
    /// some have expired, so all histories end; `None` = nothing waits outside.
    pub max_absence: Option<Duration>,
    /// Whether this instance enters the groups that it listens to, as it does where sources are
    /// drained. Others then trust that, not its subscription, which a stopped one has, too.
    pub enters_groups: bool,
    /// The bounds of publications that wait for a listener of their group.
    pub parking: Parking,
    /// With which instances sign what they send to each other.
    pub secrets: Arc<ClusterSecrets>,
    /// Largest event taken from a bare `PUBLISH`, bytes: no publisher has checked those.
    pub max_event_bytes: usize,
}

/// The bounds of publications that are parked until an instance listens to their group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parking {
    /// Publications of one group.
    pub most: u32,
    /// How long they stay.
    pub span: Duration,
}

/// An additional channel for each group, to which a program that knows no Groupcast publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Precedes the group's name in the channel's.
    pub prefix: String,
    /// The groups that have one.
    pub groups: Vec<GroupPattern>,
}

impl External {
    /// Whether `group` has such a channel.
    pub(super) fn wants(&self, group: &GroupName) -> bool {
        self.groups.iter().any(|pattern| pattern.matches(group.as_str()))
    }
}

impl RedisSettings {
    /// The Redis at `url`, everything else at its default.
    ///
    /// # Errors
    /// [`LayerError::Url`] if it cannot be used.
    pub fn new(url: &str) -> Result<Self, LayerError> {
        Ok(Self::at(RedisAddress::parse(url)?))
    }

    /// The Redis at `address`, everything else at its default.
    pub(crate) fn at(address: RedisAddress) -> Self {
        Self {
            address: Box::new(address),
            cluster: DEFAULT_CLUSTER.to_owned(),
            timeout: Duration::from_secs(2),
            commands: 10_000,
            backlog_bytes: 32 * 1024 * 1024,
            max_event_bytes: 64 * 1024,
            external: None,
            enters_groups: false,
            parking: Parking { most: 1000, span: Duration::from_secs(60) },
            shares: None,
            max_absence: None,
            secrets: Arc::default(),
        }
    }
}

impl RedisSettings {
    /// Where it is, without any password.
    pub fn place(&self) -> String {
        self.address.to_string()
    }

    /// The name by which sentinels know the primary, if they are asked.
    pub fn sentinel_service(&self) -> Option<&str> {
        self.address.asked().map(|sentinels| sentinels.service.as_str())
    }

    /// How to reach each of the sentinels, if there are any.
    pub fn sentinels(&self) -> Vec<Self> {
        let addresses = self.address.sentinels().into_iter();
        addresses.map(|address| Self { address: Box::new(address), ..self.clone() }).collect()
    }

    /// Whether connections are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.address.is_encrypted()
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("address", &self.address)
            .field("cluster", &self.cluster)
            .field("timeout", &self.timeout)
            .field("commands", &self.commands)
            .field("backlog_bytes", &self.backlog_bytes)
            .field("max_event_bytes", &self.max_event_bytes)
            .finish_non_exhaustive()
    }
}
