//! What goes over Redis: the layer and Django's channels beside it.

use super::check::{at_least_one, period, within};
use super::raw::{self, Raw, Word};
use super::secret::Given;
use super::{ConfigError, Place, credentials};
use crate::channels::{self, Receive};
use crate::group::GroupPattern;
use crate::layer;
use crate::sources::SourceSettings;

/// The longest history: all of it may be replayed to each of many that come back at once.
const MAX_HISTORY: u32 = 10_000;

/// Most mailboxes: each look asks after all of them.
const MAX_BOXES: u16 = 1024;

pub(super) fn layer(raw: &Raw, sources: &SourceSettings) -> Result<layer::Settings, ConfigError> {
    let kind = match raw.layer.kind {
        raw::LayerKind::Memory => layer::Kind::Memory,
        raw::LayerKind::Redis => layer::Kind::Redis(redis(raw, sources)?),
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

fn redis(raw: &Raw, sources: &SourceSettings) -> Result<layer::RedisSettings, ConfigError> {
    let written = &raw.layer;
    let unusable =
        |source| ConfigError::Text { key: "layer.url".to_owned(), source: Box::new(source) };
    check_name("layer.cluster", &written.cluster, 64)?;
    let mut redis = layer::RedisSettings::new(&written.url.0).map_err(unusable)?;
    redis.cluster.clone_from(&written.cluster);
    redis.timeout = period("layer.timeout", written.timeout)?;
    redis.commands = at_least_one("layer.commands", written.commands)?;
    redis.backlog_bytes = at_least_one("layer.backlog_bytes", written.backlog_bytes)?.0;
    redis.max_event_bytes = raw.limits.max_event_bytes.0;
    sources.channels.prepare(&mut redis);
    Ok(redis)
}

pub(super) fn sources(raw: &Raw, place: &Place) -> Result<SourceSettings, ConfigError> {
    let written = &raw.channels;
    let receives = |what| written.receive.contains(&Word(what));
    if !written.receive.is_empty() && raw.layer.kind == raw::LayerKind::Memory {
        let found = format!(
            "{:?}",
            written.receive.iter().map(|Word(r)| r.to_string()).collect::<Vec<_>>()
        );
        let allowed =
            "nothing with layer.kind = \"memory\"; Django's channels are on the layer's Redis";
        return Err(ConfigError::value("channels.receive", found, allowed));
    }
    check_name("channels.prefix", &written.prefix, 64)?;
    if !written.send.is_empty() && written.receive.is_empty() {
        let allowed = "nothing unless channels.receive says which of the two layers Django uses";
        return Err(ConfigError::value("channels.send", format!("{:?}", written.send), allowed));
    }
    let keys = written.key.iter().enumerate().map(|(index, key)| {
        let at = format!("channels.key[{index}]");
        let given = Given {
            key: &at,
            secret: &key.secret,
            secret_file: &key.secret_file,
            secret_env: &key.secret_env,
        };
        given.resolve(place)
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

/// A part of keys and channels.
fn check_name(key: &str, name: &str, most: usize) -> Result<(), ConfigError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if (1..=most).contains(&name.len()) && name.chars().all(legal) {
        return Ok(());
    }
    let allowed = format!("1 to {most} of letters, digits, '_', '-' and '.'");
    Err(ConfigError::value(key, format!("{name:?}"), allowed))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::{Config, Variables, check};

    fn load(channels: &str) -> Result<Config, ConfigError> {
        let text = format!("[layer]\nkind = \"redis\"\n[channels]\n{channels}");
        let variables = Variables::new();
        let raw = Config::parse(Path::new("gateway.toml"), &text, &variables)?;
        check::check(&raw, &Place { folder: PathBuf::new(), variables })
    }

    #[test]
    fn what_is_sent_to_django_needs_a_layer_that_django_uses() {
        let error = load("send = [\"sala_*\"]").expect_err("no layer is named");
        assert!(error.to_string().contains("channels.receive"), "{error}");
        let config = load("send = [\"sala_*\"]\nreceive = [\"pubsub\"]").unwrap();
        assert_eq!(config.sources.channels.send, [GroupPattern::parse("sala_*").unwrap()]);
        assert!(load("").unwrap().sources.channels.send.is_empty());
    }
}
