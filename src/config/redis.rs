//! `[layer]` and `[channels]`: what uses Redis.

use super::range::{at_least_one, period, within};
use super::raw::{self, Keyword, Raw};
use super::secret::HasSecret;
use super::servers::RedisKeys;
use super::{ConfigError, ReferenceContext, cluster, credentials};
use crate::channels::{self, Receive};
use crate::group::GroupPattern;
use crate::layer::{self, RedisAddress};
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
    let server = channel_server(raw, context)?;
    let channels = channels::ChannelSettings {
        server,
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

/// The Redis of the channel layer; `None` = it is the layer's, as its address may say, too.
fn channel_server(
    raw: &Raw,
    context: &ReferenceContext,
) -> Result<Option<layer::RedisSettings>, ConfigError> {
    let written = &raw.channels;
    let keys = RedisKeys {
        url: ("channels.url", &written.url),
        password_file: ("channels.password_file", &written.password_file),
        tls: ("channels.tls", &written.tls),
    };
    if written.url.0.is_empty() {
        let set = [
            (keys.password_file.0, !written.password_file.is_empty()),
            (keys.tls.0, written.tls != raw::TlsTable::default()),
        ];
        let expected = "channels.url beside it; without, the keys of [layer] apply";
        return match set.iter().find(|(_, is_set)| *is_set) {
            Some((key, _)) => Err(ConfigError::problem(*key, "is set", expected)),
            None => Ok(None),
        };
    }
    let others: Vec<_> =
        written.receive.iter().filter(|Keyword(layer)| *layer != Receive::Core).collect();
    if written.receive.is_empty() || !others.is_empty() {
        let found = "is set";
        let expected = "channels.receive = [\"core\"], the layer that may have a Redis of its own";
        return Err(ConfigError::problem("channels.url", found, expected));
    }
    let address = keys.address(context)?;
    let of_layer = RedisAddress::parse(&raw.layer.url.0);
    if of_layer.is_ok_and(|of_layer| of_layer.is_same_place(&address)) {
        return Ok(None);
    }
    let mut server = layer::RedisSettings::at(address);
    server.timeout = period("layer.timeout", raw.layer.timeout)?;
    server.commands = at_least_one("layer.commands", raw.layer.commands)?;
    Ok(Some(server))
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
    fn channels_may_be_on_a_server_of_their_own() {
        let server = |keys: &str| load(keys).map(|config| config.sources.channels.server);
        let core = "receive = [\"core\"]\n";
        assert!(server(core).unwrap().is_none());
        let own = server(&format!("{core}url = \"redis://:word@other/3\"")).unwrap().unwrap();
        assert_eq!((own.place().as_str(), own.address.database()), ("other:6379", 3));
        // The layer's own, written once more.
        assert!(server(&format!("{core}url = \"redis://127.0.0.1/0\"")).unwrap().is_none());
        assert!(server(&format!("{core}url = \"redis://127.0.0.1/1\"")).unwrap().is_some());
        for keys in [
            "url = \"redis://other\"",
            "receive = [\"core\", \"pubsub\"]\nurl = \"redis://other\"",
            "receive = [\"core\"]\npassword_file = \"word\"",
            "receive = [\"core\"]\nurl = \"http://:word@other\"",
        ] {
            let error = server(keys).unwrap_err().to_string();
            assert!(error.contains("channels.url") || error.contains("channels.p"), "{error}");
            assert!(!error.contains("word@"), "{error}");
        }
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
