//! What one run of `groupcast dev` adds to a configuration: addresses, keys, a token, a Redis.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::rand;
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

use super::site::SiteAddress;
use crate::clock;
use crate::config::Config;
use crate::group::GroupPattern;
use crate::identity::{self, ApiKeySettings, IdentityError, KeySettings, Right};
use crate::layer::{self, RedisSettings};
use crate::telemetry::LogFormat;

/// How long the printed token is valid, in seconds: a working day, since it is not renewed.
const TOKEN_LIFETIME: u64 = 12 * 3600;

/// The options of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port for browsers; 0 = any free one.
    pub public_port: u16,
    /// Port for back ends; 0 = any free one.
    pub api_port: u16,
    /// The user of the token, which joins `user_<sub>`.
    pub sub: String,
    /// The developer's site.
    pub site: Option<SiteAddress>,
    /// Further names of this machine, in addition to `localhost` and loopback addresses.
    pub hosts: Vec<String>,
    /// The Redis of Django's channel layer; without it the layer is in memory.
    pub redis: Option<RedisSettings>,
}

/// One run: what is printed, and what the page needs.
#[derive(Debug, Clone)]
pub struct Session {
    /// A token with all grants.
    pub token: String,
    /// The user of the token.
    pub sub: String,
    /// A group that the token joins.
    pub group: String,
    /// The WebSocket path that the page connects to.
    pub path: String,
    /// A key for publishing.
    pub api_key: String,
    /// The site that serves everything else, instead of the page.
    pub site: Option<SiteAddress>,
    /// As in [`Options::hosts`].
    pub(super) hosts: Arc<[String]>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// No random bytes for keys.
    #[error("the system's random source is unavailable")]
    Random,
    /// The token cannot be signed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl Session {
    /// Makes keys for this run, and changes `config` accordingly: loopback addresses, this run's
    /// keys, logs as text beside what is printed.
    pub fn start(options: &Options, config: &mut Config) -> Result<Self, DevError> {
        let key = KeySettings {
            id: "dev".to_owned(),
            algorithm: "HS256".to_owned(),
            material: random::<32>()?.to_vec(),
        };
        let group = format!("user_{}", options.sub);
        let token = token(&options.sub, &group, &key, &config.identity)?;
        let api_key = BASE64URL_NOPAD.encode(&random::<24>()?);
        config.server.public = SocketAddr::from((Ipv4Addr::LOCALHOST, options.public_port));
        config.api.address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.api_port));
        config.log.format = LogFormat::Text;
        add_keys(config, key, &api_key, options.site.is_some());
        if let Some(site) = &options.site
            && !config.backend.url.is_empty()
        {
            config.backend.url = format!("http://{site}");
        }
        if let Some(redis) = &options.redis {
            receive_from(redis, config);
        }
        let path = config.server.routes.first().map(|route| route.path.clone());
        Ok(Self {
            token,
            sub: options.sub.clone(),
            group,
            path: path.unwrap_or_default(),
            api_key,
            site: options.site.clone(),
            hosts: options.hosts.clone().into(),
        })
    }
}

/// With a site the keys of the file stay, since the site has them; otherwise they are not needed.
fn add_keys(config: &mut Config, key: KeySettings, secret: &str, keep: bool) {
    let identity = &mut config.identity;
    if !keep {
        identity.keys.clear();
        identity.api_keys.clear();
    }
    identity.keys.push(key);
    identity.api_keys.push(ApiKeySettings {
        name: "dev".to_owned(),
        secret: secret.to_owned(),
        groups: vec![every_group()],
        allow: Right::ALL.to_vec(),
    });
}

/// Connects to `redis`, and receives every group of its channel layer unless the file lists some.
fn receive_from(redis: &RedisSettings, config: &mut Config) {
    let channels = &mut config.sources.channels;
    if !channels.core && !channels.pubsub {
        channels.core = true;
        channels.groups = vec![every_group()];
    }
    let mut redis = redis.clone();
    config.sources.prepare(&mut redis);
    config.layer.kind = layer::Kind::Redis(redis);
}

fn every_group() -> GroupPattern {
    GroupPattern::parse("*").expect("'*' is a pattern")
}

fn token(
    sub: &str,
    group: &str,
    key: &KeySettings,
    settings: &identity::Settings,
) -> Result<String, IdentityError> {
    let mut claims = json!({
        "sub": sub,
        "exp": clock::unix_seconds() + TOKEN_LIFETIME,
        (settings.groups_claim.as_str()): [group],
        (settings.grants_claim.as_str()): {
            "join": "*", "send": "*", "presence": "*", "history": "*"
        },
    });
    for (name, accepted) in [("aud", &settings.audience), ("iss", &settings.issuer)] {
        if let Some(first) = accepted.first() {
            claims[name] = json!(first);
        }
    }
    identity::sign(key, &claims)
}

fn random<const N: usize>() -> Result<[u8; N], DevError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| DevError::Random)?;
    Ok(bytes)
}
