//! `[layer]` and `[channels]`: what uses Redis.

use super::range::{at_least_one, period, within};
use super::raw::{self, Keyword, Raw};
use super::secret::HasSecret;
use super::servers::RedisKeys;
use super::{ConfigError, ReferenceContext, cluster, credentials};
use crate::channels::{self, Receive};
use crate::group::GroupPattern;
use crate::layer;
use crate::sources::SourceSettings;

/// Longest history: all of it may be replayed to each of many reconnecting clients.
const MAX_HISTORY: u32 = 10_000;

/// Most mailboxes: each poll reads all of them.
const MAX_BOXES: u16 = 1024;

pub(super) fn layer(
    raw: &Raw,
    sources: &SourceSettings,
    context: &ReferenceContext,
) -> Result<layer::Settings, ConfigError> {
    let kind = match raw.layer.kind {
        raw::LayerKind::Memory => layer::Kind::Memory,
        raw::LayerKind::Redis => layer::Kind::Redis(redis(raw, sources, context)?),
    };
    let mut history = Vec::new();
    for (index, written) in raw.layer.history.iter().enumerate() {
        let key = |name: &str| format!("layer.history[{index}].{name}");
        let pattern = credentials::pattern(&key("pattern"), &written.pattern)?;
        let kept = layer::Retention {
            size: within(&key("size"), written.size, 1, MAX_HISTORY)?,
            ttl: period(&key("ttl"), written.ttl)?,
        };
        history.push((pattern, kept));
    }
    Ok(layer::Settings { kind, history: layer::History::new(history) })
}

fn redis(
    raw: &Raw,
    sources: &SourceSettings,
    context: &ReferenceContext,
) -> Result<layer::RedisSettings, ConfigError> {
    let written = &raw.layer;
    check_name("layer.cluster", &written.cluster, 64)?;
    let keys = RedisKeys {
        url: ("layer.url", &written.url),
        password_file: ("layer.password_file", &written.password_file),
        tls: ("layer.tls", &written.tls),
    };
    let mut redis = layer::RedisSettings::at(keys.address(context)?);
    redis.secrets = cluster::secrets(raw, context)?.into();
    redis.cluster.clone_from(&written.cluster);
    redis.timeout = period("layer.timeout", written.timeout)?;
    redis.commands = at_least_one("layer.commands", written.commands)?;
    redis.backlog_bytes = at_least_one("layer.backlog_bytes", written.backlog_bytes)?.0;
    redis.max_event_bytes = raw.limits.max_event_bytes.0;
    sources.prepare(&mut redis);
    Ok(redis)
}

pub(super) fn sources(
    raw: &Raw,
    context: &ReferenceContext,
) -> Result<SourceSettings, ConfigError> {
    let written = &raw.channels;
    let receives = |what| written.receive.contains(&Keyword(what));
    if !written.receive.is_empty() && raw.layer.kind == raw::LayerKind::Memory {
        let found = format!(
            "{:?}",
            written.receive.iter().map(|Keyword(receive)| receive.to_string()).collect::<Vec<_>>()
        );
        let expected =
            "[] with layer.kind = \"memory\"; Django's channels are on the layer's Redis";
        return Err(ConfigError::value("channels.receive", found, expected));
    }
    check_name("channels.prefix", &written.prefix, 64)?;
    if !written.send.is_empty() && written.receive.is_empty() {
        let expected = "[] unless channels.receive names the layer that Django uses";
        return Err(ConfigError::value("channels.send", format!("{:?}", written.send), expected));
    }
    let keys =
        written.key.iter().enumerate().map(|(index, key)| {
            key.secret_keys().resolve(&format!("channels.key[{index}]"), context)
        });
    let channels = channels::ChannelSettings {
        core: receives(Receive::Core),
        pubsub: receives(Receive::Pubsub),
        groups: patterns("channels.groups", &written.groups)?,
        send: patterns("channels.send", &written.send)?,
        send_capacity: at_least_one("channels.send_capacity", written.send_capacity)?,
        prefix: written.prefix.clone(),
        capacity: at_least_one("channels.capacity", written.capacity)?,
        group_expiry: period("channels.group_expiry", written.group_expiry)?,
        boxes: within("channels.boxes", written.boxes, 1, MAX_BOXES)?,
        codec: channels::CodecSettings {
            serializer: written.serializer.0,
            keys: keys.collect::<Result<_, _>>()?,
            random_prefix: within(
                "channels.random_prefix_length",
                written.random_prefix_length,
                0,
                1024,
            )?,
            expiry: period("channels.expiry", written.expiry)?,
        },
    };
    Ok(SourceSettings { ingress: raw.layer.ingress, channels })
}

fn patterns(key: &str, written: &[String]) -> Result<Vec<GroupPattern>, ConfigError> {
    let written = written.iter().enumerate();
    written.map(|(index, text)| credentials::pattern(&format!("{key}[{index}]"), text)).collect()
}

/// A name that becomes a part of keys and channels in Redis.
pub(super) fn check_name(key: &str, name: &str, most: usize) -> Result<(), ConfigError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if (1..=most).contains(&name.len()) && name.chars().all(legal) {
        return Ok(());
    }
    let expected = format!("1 to {most} of letters, digits, '_', '-' and '.'");
    Err(ConfigError::value(key, format!("{name:?}"), expected))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Variables};

    fn load(channels: &str) -> Result<Config, ConfigError> {
        let text = format!("[layer]\nkind = \"redis\"\n[channels]\n{channels}");
        Config::parse(Path::new("gateway.toml"), &text, Variables::new())
    }

    #[test]
    fn sending_to_django_needs_a_layer_that_django_uses() {
        let error = load("send = [\"sala_*\"]").expect_err("no layer is named");
        assert!(error.to_string().contains("channels.receive"), "{error}");
        let config = load("send = [\"sala_*\"]\nreceive = [\"pubsub\"]").unwrap();
        assert_eq!(config.sources.channels.send, [GroupPattern::parse("sala_*").unwrap()]);
        assert!(load("").unwrap().sources.channels.send.is_empty());
    }
}
