//! The form of `gateway.toml`: one struct per section, with the defaults of the rooms.
//!
//! Only the form of each value is checked here; [`super::check`] checks values against each other.

mod amqp;
mod backend;
mod celery;
mod keyword;
mod layer;
mod routes;
mod tasks;
mod tls;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub(crate) use amqp::AmqpSection;
pub(crate) use backend::{BackendSection, SigningKeyTable};
pub(crate) use celery::CelerySection;
pub(crate) use keyword::Keyword;
pub(crate) use layer::{ChannelsSection, ClusterSection, LayerKind, LayerSection};
pub(crate) use routes::{RouteList, RouteTable};
pub(crate) use tasks::{ArgumentEntry, TaskTable};
pub(crate) use tls::TlsTable;

use super::secret::{Secret, has_secret};
use super::units::{Period, Size};
use crate::{api, coordinator, hub, identity, publish, server, socket, telemetry};

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Raw {
    pub(crate) listen: ListenSection,
    pub(crate) connections: ConnectionsSection,
    pub(crate) limits: LimitsSection,
    pub(crate) auth: AuthSection,
    pub(crate) grant: Vec<GrantTable>,
    pub(crate) api: ApiSection,
    pub(crate) backend: BackendSection,
    pub(crate) drain: DrainSection,
    pub(crate) hub: HubSection,
    pub(crate) layer: LayerSection,
    pub(crate) cluster: ClusterSection,
    pub(crate) channels: ChannelsSection,
    pub(crate) amqp: AmqpSection,
    pub(crate) celery: CelerySection,
    pub(crate) task: Vec<TaskTable>,
    pub(crate) route: RouteList,
    pub(crate) log: LogSection,
}

/// `[listen]`: the addresses of the two listeners.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ListenSection {
    pub(crate) public: SocketAddr,
    pub(crate) api: SocketAddr,
}

/// `[connections]`: their number, and their timeouts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ConnectionsSection {
    pub(crate) max: usize,
    pub(crate) max_handshakes: usize,
    pub(crate) per_user: u32,
    pub(crate) header_timeout: Period,
    pub(crate) hello_timeout: Period,
    pub(crate) ping: Period,
    pub(crate) ping_grace: Period,
    pub(crate) retry_window: Period,
}

/// `[limits]`: bounds of one connection's input and output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsSection {
    pub(crate) max_frame_bytes: Size,
    pub(crate) frames_per_second: u32,
    pub(crate) frame_burst: u32,
    pub(crate) groups_per_connection: usize,
    pub(crate) keys_per_user: u32,
    pub(crate) outbox_bytes: Size,
    pub(crate) total_outbox_bytes: Size,
    pub(crate) max_event_bytes: Size,
    pub(crate) notsent_lowat: Size,
    pub(crate) group: Vec<GroupLimitsTable>,
}

/// `[[limits.group]]`: outbox bounds of the groups that match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupLimitsTable {
    pub(crate) pattern: String,
    #[serde(default = "GroupLimitsTable::capacity")]
    pub(crate) capacity: u32,
    #[serde(default = "GroupLimitsTable::expiry")]
    pub(crate) expiry: Period,
    #[serde(default)]
    pub(crate) overflow: socket::Overflow,
    #[serde(default)]
    pub(crate) collapse: String,
}

/// `[auth]`: which tokens are accepted, and where they are looked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuthSection {
    pub(crate) audience: Vec<String>,
    pub(crate) issuer: Vec<String>,
    pub(crate) leeway: Period,
    pub(crate) cookie: String,
    pub(crate) url_parameter: String,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) groups_claim: String,
    pub(crate) grants_claim: String,
    pub(crate) key: Vec<AuthKeyTable>,
}

/// `[[auth.key]]`: a key that verifies tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthKeyTable {
    #[serde(default)]
    pub(crate) id: String,
    pub(crate) algorithm: String,
    pub(crate) secret: Option<Secret>,
    pub(crate) secret_file: Option<String>,
    pub(crate) secret_env: Option<String>,
    pub(crate) public_key_file: Option<String>,
}

/// `[[grant]]`: grants of every token, in addition to its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantTable {
    #[serde(default)]
    pub(crate) allow: Vec<Keyword<identity::Operation>>,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) calls: Vec<String>,
}

/// `[api]`: the listener for back ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApiSection {
    pub(crate) timeout: Period,
    pub(crate) idempotency_window: Period,
    pub(crate) idempotency_keys: u32,
    pub(crate) publish_timeout: Period,
    pub(crate) key: Vec<ApiKeyTable>,
}

/// `[[api.key]]`: the credential of one back end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiKeyTable {
    pub(crate) name: String,
    pub(crate) secret: Option<Secret>,
    pub(crate) secret_file: Option<String>,
    pub(crate) secret_env: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) allow: Vec<Keyword<identity::Right>>,
}

/// `[drain]`: how connections are closed before the process ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DrainSection {
    pub(crate) grace: Period,
    pub(crate) rate: u32,
}

/// `[hub]`: threads and queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HubSection {
    pub(crate) shards: usize,
    pub(crate) inbox: usize,
    pub(crate) requests: usize,
    pub(crate) linger: Period,
}

/// `[log]`: how much is logged, and in which form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogSection {
    pub(crate) level: String,
    pub(crate) format: telemetry::LogFormat,
}

// ===== defaults of the rooms =====

has_secret!(AuthKeyTable, ApiKeyTable);

impl Default for ListenSection {
    fn default() -> Self {
        Self { public: server::Settings::default().public, api: api::Settings::default().address }
    }
}

impl Default for ConnectionsSection {
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

impl Default for LimitsSection {
    fn default() -> Self {
        let connection = socket::Settings::default();
        Self {
            max_frame_bytes: Size(connection.max_frame_bytes),
            frames_per_second: connection.frames_per_second,
            frame_burst: connection.frame_burst,
            groups_per_connection: connection.groups_per_connection,
            keys_per_user: publish::Settings::default().user_keys,
            outbox_bytes: Size(connection.outbox_bytes),
            total_outbox_bytes: Size(hub::Settings::default().total_outbox_bytes),
            max_event_bytes: Size(publish::Settings::default().max_event_bytes),
            notsent_lowat: Size(connection.notsent_lowat as usize),
            group: vec![GroupLimitsTable::every()],
        }
    }
}

impl GroupLimitsTable {
    /// The limits of groups that no other pattern matches.
    pub(crate) fn every() -> Self {
        Self {
            pattern: "*".to_owned(),
            capacity: Self::capacity(),
            expiry: Self::expiry(),
            overflow: socket::Overflow::default(),
            collapse: String::new(),
        }
    }

    fn capacity() -> u32 {
        socket::Limits::default().capacity
    }

    fn expiry() -> Period {
        Period(socket::Limits::default().expiry)
    }
}

impl Default for AuthSection {
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

impl Default for ApiSection {
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

impl Default for DrainSection {
    fn default() -> Self {
        Self {
            grace: Period(server::Settings::default().drain_grace),
            rate: hub::Settings::default().drain_rate,
        }
    }
}

impl Default for HubSection {
    fn default() -> Self {
        let hub = hub::Settings::default();
        let linger = Period(coordinator::Settings::default().linger);
        Self { shards: hub.shards, inbox: hub.inbox, requests: hub.requests, linger }
    }
}

impl Default for LogSection {
    fn default() -> Self {
        let log = telemetry::LogSettings::default();
        Self { level: log.filter, format: log.format }
    }
}
