//! What can be written in `gateway.toml`: one struct per section, defaults taken from the rooms.
//!
//! Nothing here is checked beyond its own form; [`super::check`] says what the values mean together.

mod backend;
mod layer;
mod routes;

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use backend::{Backend, SigningKey};
pub(crate) use layer::{Channels, Layer, LayerKind};
pub(crate) use routes::{Allow, Route, Routes};

use super::secret::Secret;
use super::units::{Period, Size};
use crate::{api, coordinator, hub, identity, publish, server, socket, telemetry};

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Raw {
    pub(crate) listen: Listen,
    pub(crate) connections: Connections,
    pub(crate) limits: Limits,
    pub(crate) auth: Auth,
    pub(crate) grant: Vec<Grant>,
    pub(crate) api: Api,
    pub(crate) backend: Backend,
    pub(crate) drain: Drain,
    pub(crate) hub: Hub,
    pub(crate) layer: Layer,
    pub(crate) channels: Channels,
    pub(crate) route: Routes,
    pub(crate) log: Log,
}

/// `[listen]`: where the two doors are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    pub(crate) public: SocketAddr,
    pub(crate) api: SocketAddr,
}

/// `[connections]`: how many, and how long they may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Connections {
    pub(crate) max: usize,
    pub(crate) max_handshakes: usize,
    pub(crate) per_user: u32,
    pub(crate) header_timeout: Period,
    pub(crate) hello_timeout: Period,
    pub(crate) ping: Period,
    pub(crate) ping_grace: Period,
    pub(crate) retry_window: Period,
}

/// `[limits]`: what one connection may send and what may wait for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) max_frame_bytes: Size,
    pub(crate) frames_per_second: u32,
    pub(crate) frame_burst: u32,
    pub(crate) groups_per_connection: usize,
    pub(crate) outbox_bytes: Size,
    pub(crate) total_outbox_bytes: Size,
    pub(crate) max_event_bytes: Size,
    pub(crate) notsent_lowat: Size,
    pub(crate) group: Vec<GroupLimits>,
}

/// `[[limits.group]]`: what may wait of the groups that match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupLimits {
    pub(crate) pattern: String,
    #[serde(default = "GroupLimits::capacity")]
    pub(crate) capacity: u32,
    #[serde(default = "GroupLimits::expiry")]
    pub(crate) expiry: Period,
    #[serde(default)]
    pub(crate) overflow: Overflow,
}

/// `overflow`: the publication too many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Overflow {
    #[default]
    DropOldest,
    DropNewest,
    Close,
}

/// `[auth]`: whose tokens are believed, and where they may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Auth {
    pub(crate) audience: Vec<String>,
    pub(crate) issuer: Vec<String>,
    pub(crate) leeway: Period,
    pub(crate) cookie: String,
    pub(crate) url_parameter: String,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) groups_claim: String,
    pub(crate) grants_claim: String,
    pub(crate) key: Vec<AuthKey>,
}

/// `[[auth.key]]`: a key that tokens may be signed with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthKey {
    #[serde(default)]
    pub(crate) id: String,
    pub(crate) algorithm: String,
    pub(crate) secret: Option<Secret>,
    pub(crate) secret_file: Option<String>,
    pub(crate) secret_env: Option<String>,
    pub(crate) public_key_file: Option<String>,
}

/// `[[grant]]`: what every token may do beside what it says itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grant {
    #[serde(default)]
    pub(crate) allow: Vec<Word<identity::Operation>>,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) calls: Vec<String>,
}

/// `[api]`: the door for back ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Api {
    pub(crate) timeout: Period,
    pub(crate) idempotency_window: Period,
    pub(crate) idempotency_keys: usize,
    pub(crate) publish_timeout: Period,
    pub(crate) key: Vec<ApiKey>,
}

/// `[[api.key]]`: one back end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiKey {
    pub(crate) name: String,
    pub(crate) secret: Option<Secret>,
    pub(crate) secret_file: Option<String>,
    pub(crate) secret_env: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) allow: Vec<Word<identity::Right>>,
}

/// `[drain]`: going away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Drain {
    pub(crate) grace: Period,
    pub(crate) rate: u32,
}

/// `[hub]`: threads and queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Hub {
    pub(crate) shards: usize,
    pub(crate) inbox: usize,
    pub(crate) requests: usize,
    pub(crate) linger: Period,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// A word of a room's own vocabulary, which knows what is allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Word<T>(pub(crate) T);

impl<T: Display> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map(Word).map_err(serde::de::Error::custom)
    }
}

// ===== defaults: the rooms' own =====

impl Default for Listen {
    fn default() -> Self {
        Self { public: server::Settings::default().public, api: api::Settings::default().address }
    }
}

impl Default for Connections {
    fn default() -> Self {
        let server = server::Settings::default();
        let connection = socket::Settings::default();
        Self {
            max: server.max_connections,
            max_handshakes: server.max_handshakes,
            per_user: hub::Settings::default().connections_per_user,
            header_timeout: Period(server.header_timeout),
            hello_timeout: Period(server.hello_timeout),
            ping: Period(connection.ping),
            ping_grace: Period(connection.ping_grace),
            retry_window: Period(server.retry_window),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let connection = socket::Settings::default();
        Self {
            max_frame_bytes: Size(connection.max_frame_bytes),
            frames_per_second: connection.frames_per_second,
            frame_burst: connection.frame_burst,
            groups_per_connection: connection.groups_per_connection,
            outbox_bytes: Size(connection.outbox_bytes),
            total_outbox_bytes: Size(hub::Settings::default().total_outbox_bytes),
            max_event_bytes: Size(publish::Settings::default().max_event_bytes),
            notsent_lowat: Size(connection.notsent_lowat as usize),
            group: vec![GroupLimits::every()],
        }
    }
}

impl GroupLimits {
    /// The limits of groups that no other pattern matches.
    pub(crate) fn every() -> Self {
        Self {
            pattern: "*".to_owned(),
            capacity: Self::capacity(),
            expiry: Self::expiry(),
            overflow: Overflow::default(),
        }
    }

    fn capacity() -> u32 {
        socket::Limits::default().capacity
    }

    fn expiry() -> Period {
        Period(socket::Limits::default().expiry)
    }
}

impl Default for Auth {
    fn default() -> Self {
        let (identity, server) = (identity::Settings::default(), server::Settings::default());
        Self {
            audience: identity.audience,
            issuer: identity.issuer,
            leeway: Period(identity.leeway),
            cookie: server.token_cookie,
            url_parameter: server.token_parameter,
            allowed_origins: server.allowed_origins,
            groups_claim: identity.groups_claim,
            grants_claim: identity.grants_claim,
            key: Vec::new(),
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        let publish = publish::Settings::default();
        Self {
            timeout: Period(api::Settings::default().timeout),
            idempotency_window: Period(publish.idempotency_window),
            idempotency_keys: publish.idempotency_keys,
            publish_timeout: Period(publish.publish_timeout),
            key: Vec::new(),
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            grace: Period(server::Settings::default().drain_grace),
            rate: hub::Settings::default().drain_rate,
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        let hub = hub::Settings::default();
        let linger = Period(coordinator::Settings::default().linger);
        Self { shards: hub.shards, inbox: hub.inbox, requests: hub.requests, linger }
    }
}

impl Default for Log {
    fn default() -> Self {
        let log = telemetry::LogSettings::default();
        let format = match log.format {
            telemetry::LogFormat::Text => LogFormat::Text,
            telemetry::LogFormat::Json => LogFormat::Json,
        };
        Self { level: log.filter, format }
    }
}
