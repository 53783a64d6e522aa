//! Django's channel layer as it is configured here, by channels_redis' own names and defaults.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::codec::{CodecSettings, Serializer};
use crate::group::{GroupName, GroupPattern};
use crate::layer::{External, Parking, RedisSettings};

/// Django's channel layer; with the memory layer there is none.
#[derive(Clone)]
pub struct ChannelSettings {
    /// Whether `channels_redis.core` is received.
    pub core: bool,
    /// Whether `channels_redis.pubsub` is received.
    pub pubsub: bool,
    /// The Redis of the core layer; `None` = it is the gateway's own.
    pub server: Option<RedisSettings>,
    /// The groups that are received; others are not registered.
    pub groups: Vec<GroupPattern>,
    /// The groups whose events are forwarded to Django's consumers, unless Django sent them.
    pub send: Vec<GroupPattern>,
    /// Messages that may wait for one process of consumers: Django's `capacity`.
    pub send_capacity: u32,
    /// Begins every key of the library.
    pub prefix: String,
    /// Entries at which senders drop messages for one mailbox: one found with as many may have lost
    /// some.
    pub capacity: u32,
    /// After how long senders forget members that were not refreshed.
    pub group_expiry: Duration,
    /// Mailboxes that all instances share; kept in Redis, and the same for all.
    pub boxes: u16,
    /// The message format; its `expiry` applies to mailboxes, too.
    pub codec: CodecSettings,
}

/// A layer of the library that is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receive {
    /// `channels_redis.core`: mailboxes, which wait while a gateway restarts.
    Core,
    /// `channels_redis.pubsub`: fire and forget.
    Pubsub,
}

/// A value that is not one of those allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not known; {allowed} are allowed")]
pub struct UnknownValue {
    found: String,
    allowed: &'static str,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            core: false,
            pubsub: false,
            server: None,
            groups: Vec::new(),
            send: Vec::new(),
            send_capacity: 100,
            prefix: "asgi".to_owned(),
            capacity: 100,
            group_expiry: Duration::from_secs(86_400),
            boxes: 64,
            codec: CodecSettings {
                serializer: Serializer::MsgPack,
                keys: Vec::new(),
                random_prefix: 12,
                expiry: Duration::from_secs(60),
            },
        }
    }
}

impl ChannelSettings {
    /// Whether Django's senders are to find `group` here.
    pub(crate) fn receives(&self, group: &GroupName) -> bool {
        self.groups.iter().any(|pattern| pattern.matches(group.as_str()))
    }

    /// The bounds of parked publications: as long as senders' messages wait, and as many, or enough
    /// for a group whose only instance restarts.
    pub(crate) fn parking(&self) -> Parking {
        Parking { most: self.capacity.max(1000), span: self.codec.expiry }
    }

    /// Applies the settings of Django's layer on which the Redis layer depends.
    pub(crate) fn prepare(&self, redis: &mut RedisSettings) {
        redis.parking = self.parking();
        redis.shares = self.core.then_some(self.boxes);
        redis.max_absence = self.core.then_some(self.codec.expiry);
        redis.external = self
            .pubsub
            .then(|| External { prefix: pubsub_stem(&self.prefix), groups: self.groups.clone() });
    }
}

/// The beginning of the pub/sub layer's group channels, after Django's prefix.
pub(super) fn pubsub_stem(prefix: &str) -> String {
    format!("{prefix}__group__")
}

impl fmt::Debug for ChannelSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSettings")
            .field("core", &self.core)
            .field("pubsub", &self.pubsub)
            .field("server", &self.server)
            .field("prefix", &self.prefix)
            .field("capacity", &self.capacity)
            .field("boxes", &self.boxes)
            .finish_non_exhaustive()
    }
}

impl FromStr for Receive {
    type Err = UnknownValue;

    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        match text {
            "core" => Ok(Self::Core),
            "pubsub" => Ok(Self::Pubsub),
            _ => Err(UnknownValue { found: text.to_owned(), allowed: "\"core\" and \"pubsub\"" }),
        }
    }
}

impl fmt::Display for Receive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Core => "core",
            Self::Pubsub => "pubsub",
        })
    }
}

impl FromStr for Serializer {
    type Err = UnknownValue;

    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        match text {
            "msgpack" => Ok(Self::MsgPack),
            "json" => Ok(Self::Json),
            _ => Err(UnknownValue { found: text.to_owned(), allowed: "\"msgpack\" and \"json\"" }),
        }
    }
}

impl fmt::Display for Serializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MsgPack => "msgpack",
            Self::Json => "json",
        })
    }
}
