//! What the bridge is told: which foreign places it reads, and what Django's settings say of them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::codec::{CodecSettings, Serializer};
use crate::group::{GroupName, GroupPattern};

/// Shape of the bridge. It rests on the layer's Redis; with the memory layer there is none.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether the stream `<cluster>:ingress` is drained.
    pub ingress: bool,
    /// Django's channel layer.
    pub channels: Channels,
}

/// Django's channel layer, by the names and at the defaults that channels_redis gives its settings.
#[derive(Clone)]
pub struct Channels {
    /// Whether `channels_redis.core` is received.
    pub core: bool,
    /// Whether `channels_redis.pubsub` is received.
    pub pubsub: bool,
    /// The groups that are received; the others' senders do not see the gateway.
    pub groups: Vec<GroupPattern>,
    /// The groups of which Django's consumers are sent what enters by the gateway's own door.
    pub send: Vec<GroupPattern>,
    /// Messages that may wait for one process of consumers: Django's `capacity`.
    pub send_capacity: u32,
    /// Begins every key of the library.
    pub prefix: String,
    /// Entries that senders let wait in one mailbox: a box with as many may have lost some.
    pub capacity: u32,
    /// After how long senders forget members that were not refreshed.
    pub group_expiry: Duration,
    /// Mailboxes that all instances share; kept in Redis, and the same for all.
    pub boxes: u16,
    /// How messages are written; its `expiry` is the mailboxes' too.
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

/// A word that stands for nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not known; {allowed} are allowed")]
pub struct UnknownWord {
    found: String,
    allowed: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self { ingress: true, channels: Channels::default() }
    }
}

impl Default for Channels {
    fn default() -> Self {
        Self {
            core: false,
            pubsub: false,
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

impl Channels {
    /// Whether Django's senders are to find `group` here.
    pub fn wants(&self, group: &GroupName) -> bool {
        self.groups.iter().any(|pattern| pattern.matches(group.as_str()))
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels")
            .field("core", &self.core)
            .field("pubsub", &self.pubsub)
            .field("prefix", &self.prefix)
            .field("capacity", &self.capacity)
            .field("boxes", &self.boxes)
            .finish_non_exhaustive()
    }
}

impl FromStr for Receive {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "core" => Ok(Self::Core),
            "pubsub" => Ok(Self::Pubsub),
            _ => Err(UnknownWord { found: word.to_owned(), allowed: "\"core\" and \"pubsub\"" }),
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
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "msgpack" => Ok(Self::MsgPack),
            "json" => Ok(Self::Json),
            _ => Err(UnknownWord { found: word.to_owned(), allowed: "\"msgpack\" and \"json\"" }),
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
