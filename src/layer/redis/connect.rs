//! Makes the clients, none of which is connected yet.

use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, WithOptions};
use fred::interfaces::ClientLike;
use fred::types::RespVersion;
use fred::types::config::{
    Config, ConnectionConfig, Options, PerformanceConfig, ReconnectPolicy, TcpConfig,
    UnresponsiveConfig,
};
use tokio::task::JoinHandle;

use super::address_lookup::AddressLookup;
use super::credentials::Login;
use crate::layer::{LayerError, RedisSettings};

/// A client whose commands fail at once without a connection instead of waiting for one: callers
/// wait elsewhere, with their own limits.
pub(super) type Commands = WithOptions<Client>;

/// First wait before connecting again.
const MIN_DELAY_MS: u32 = 20;

/// Longest wait before connecting again: delivery is back within two seconds of Redis, and
/// subscribing and a probe come after connecting.
const MAX_DELAY_MS: u32 = 700;

/// The same where sentinels name the address: it may change at any moment.
const MAX_DELAY_BY_SENTINELS_MS: u32 = 150;

/// Added at random to each wait, so that instances do not reconnect in step.
const JITTER_MS: u32 = 100;

/// Capacity of fred's event channels. The one that carries publications is read by a task that does
/// nothing else, so this covers what arrives while it is not scheduled.
pub(super) const EVENTS: usize = 65_536;

/// Aborts a task when dropped.
#[derive(Debug)]
pub(super) struct AbortOnDrop<T>(pub(super) JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A client that reconnects forever, not connected yet, and the lookup of its addresses; its event
/// channels hold `events`.
pub(super) fn client(
    settings: &RedisSettings,
    events: usize,
) -> Result<(Client, AddressLookup), LayerError> {
    let by_sentinels = settings.sentinel_service().is_some();
    let longest = if by_sentinels { MAX_DELAY_BY_SENTINELS_MS } else { MAX_DELAY_MS };
    let mut policy = ReconnectPolicy::new_exponential(0, MIN_DELAY_MS, longest, 2);
    policy.set_jitter(JITTER_MS);
    build(settings, events, Some(policy))
}

/// A client that connects at the first attempt or fails.
pub(super) fn client_without_retry(
    settings: &RedisSettings,
    events: usize,
) -> Result<(Client, AddressLookup), LayerError> {
    build(settings, events, None)
}

fn build(
    settings: &RedisSettings,
    events: usize,
    policy: Option<ReconnectPolicy>,
) -> Result<(Client, AddressLookup), LayerError> {
    let address = &settings.address;
    let lookup = AddressLookup::new(address)?;
    let config = Config {
        server: lookup.server(),
        tls: lookup.tls(),
        database: address.database,
        credential_provider: Some(Arc::new(Login(address.credentials.clone()))),
        // Only RESP3 answers other commands on a subscribed connection.
        version: RespVersion::RESP3,
        // Not the commands' fail_fast: a client that reconnects keeps trying at the start, too.
        fail_fast: policy.is_none(),
        ..Config::default()
    };
    let performance = PerformanceConfig {
        default_command_timeout: settings.timeout,
        broadcast_channel_capacity: events,
        ..PerformanceConfig::default()
    };
    let connection = ConnectionConfig {
        connection_timeout: settings.timeout,
        internal_command_timeout: settings.timeout,
        max_command_attempts: 1,
        max_command_buffer_len: settings.commands,
        reconnect_on_auth_error: true,
        // A connection that is open and silent, as behind a firewall that dropped its state.
        unresponsive: UnresponsiveConfig {
            max_timeout: Some(settings.timeout),
            interval: Duration::from_millis(500),
        },
        tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
        ..ConnectionConfig::default()
    };
    Ok((Client::new(config, Some(performance), Some(connection), policy), lookup))
}

/// Times the usual timeout that a change of the subscription may take.
const SUBSCRIPTION_PATIENCE: u32 = 5;

/// `client` for commands that fail at once.
pub(super) fn commands(client: &Client, settings: &RedisSettings) -> Commands {
    client.with_options(&Options {
        fail_fast: true,
        max_attempts: Some(1),
        timeout: Some(settings.timeout),
        ..Options::default()
    })
}

/// `client` for changes of its subscription, which need time beside a flood: fred reads what is
/// there before it writes, so SUBSCRIBE may wait while messages keep coming. A connection that is
/// dead shows sooner, by an answer that is late and by probes.
pub(super) fn subscriptions(client: &Client, settings: &RedisSettings) -> Commands {
    client.with_options(&Options {
        fail_fast: true,
        max_attempts: Some(1),
        timeout: Some(settings.timeout * SUBSCRIPTION_PATIENCE),
        ..Options::default()
    })
}
