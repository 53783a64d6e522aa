//! `[layer]` and `[channels]`: what uses Redis.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Keyword, TlsTable};
use crate::config::secret::{Secret, has_secret};
use crate::config::units::{Period, Size};
use crate::sources::SourceSettings;
use crate::{channels, layer};

/// `[layer]`: what carries publications between instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LayerSection {
    pub(crate) kind: LayerKind,
    pub(crate) url: Secret,
    pub(crate) password_file: String,
    pub(crate) cluster: String,
    pub(crate) timeout: Period,
    pub(crate) commands: usize,
    pub(crate) backlog_bytes: Size,
    pub(crate) ingress: bool,
    pub(crate) tls: TlsTable,
    pub(crate) history: Vec<HistoryTable>,
}

/// `[[layer.history]]`: the history of the groups that match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryTable {
    pub(crate) pattern: String,
    #[serde(default = "HistoryTable::size")]
    pub(crate) size: u32,
    #[serde(default = "HistoryTable::ttl")]
    pub(crate) ttl: Period,
}

/// `[cluster]`: what the instances of a cluster trust each other by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClusterSection {
    pub(crate) require: bool,
    pub(crate) key: Vec<ClusterKeyTable>,
}

/// `[[cluster.key]]`: one of the secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClusterKeyTable {
    pub(crate) secret: Option<Secret>,
    pub(crate) secret_file: Option<String>,
    pub(crate) secret_env: Option<String>,
}

/// `layer.kind`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LayerKind {
    #[default]
    Memory,
    Redis,
}

/// `[channels]`: Django's channel layer, on the same Redis or one of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ChannelsSection {
    pub(crate) receive: Vec<Keyword<channels::Receive>>,
    pub(crate) url: Secret,
    pub(crate) password_file: String,
    pub(crate) tls: TlsTable,
    pub(crate) groups: Vec<String>,
    pub(crate) send: Vec<String>,
    pub(crate) send_capacity: u32,
    pub(crate) prefix: String,
    pub(crate) capacity: u32,
    pub(crate) expiry: Period,
    pub(crate) group_expiry: Period,
    pub(crate) random_prefix_length: usize,
    pub(crate) serializer: Keyword<channels::Serializer>,
    pub(crate) boxes: u16,
    pub(crate) key: Vec<ChannelsKeyTable>,
}

/// `[[channels.key]]`: one of Django's `symmetric_encryption_keys`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelsKeyTable {
    pub(crate) secret: Option<Secret>,
    pub(crate) secret_file: Option<String>,
    pub(crate) secret_env: Option<String>,
}

has_secret!(ChannelsKeyTable, ClusterKeyTable);

impl Default for LayerSection {
    fn default() -> Self {
        let url = "redis://127.0.0.1:6379";
        let redis = layer::RedisSettings::new(url).expect("a legal address");
        Self {
            kind: LayerKind::default(),
            url: Secret(url.to_owned()),
            password_file: String::new(),
            cluster: redis.cluster,
            timeout: Period(redis.timeout),
            commands: redis.commands,
            backlog_bytes: Size(redis.backlog_bytes),
            ingress: SourceSettings::default().ingress,
            tls: TlsTable::default(),
            history: Vec::new(),
        }
    }
}

impl HistoryTable {
    fn size() -> u32 {
        100
    }

    fn ttl() -> Period {
        Period(Duration::from_secs(300))
    }
}

impl Default for ChannelsSection {
    fn default() -> Self {
        let channels = channels::ChannelSettings::default();
        Self {
            receive: Vec::new(),
            url: Secret(String::new()),
            password_file: String::new(),
            tls: TlsTable::default(),
            groups: vec!["*".to_owned()],
            send: Vec::new(),
            send_capacity: channels.send_capacity,
            prefix: channels.prefix,
            capacity: channels.capacity,
            expiry: Period(channels.codec.expiry),
            group_expiry: Period(channels.group_expiry),
            random_prefix_length: channels.codec.random_prefix,
            serializer: Keyword(channels.codec.serializer),
            boxes: channels.boxes,
            key: Vec::new(),
        }
    }
}
