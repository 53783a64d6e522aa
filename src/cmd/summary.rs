//! Describes a configuration, for `check`.

use std::fmt::Write;

use groupcast::config::{Allow, Config, Overflow};
use groupcast::{backend, identity, layer};

/// Connections assumed for the memory estimate where `connections.max` sets no limit.
const ASSUMED_CONNECTIONS: usize = 10_000;

/// Describes `config`, one fact per line, without secrets.
pub(super) fn of(config: &Config) -> String {
    let mut out = String::new();
    listeners(config, &mut out);
    queue(config, &mut out);
    keys(&config.identity, &mut out);
    grants(&config.identity, &mut out);
    back_end(&config.backend, &mut out);
    routes(config, &mut out);
    tasks(config, &mut out);
    limits(config, &mut out);
    out
}

/// Appends one line. Writing to a `String` cannot fail.
macro_rules! line {
    ($out:expr, $name:expr, $($text:tt)*) => {{
        let _ = writeln!($out, "{:<12}{}", $name, format_args!($($text)*));
    }};
}

fn listeners(config: &Config, out: &mut String) {
    line!(out, "browsers", "ws://{}", config.server.public);
    line!(out, "back ends", "http://{}", config.api.address);
    match config.server.max_connections {
        0 => line!(out, "WebSockets", "as many as file descriptors allow"),
        most => line!(out, "WebSockets", "at most {most}"),
    }
    line!(
        out,
        "",
        "at most {} per user, {} handshakes at a time",
        config.hub.connections_per_user,
        config.server.max_handshakes
    );
    match &config.layer.kind {
        layer::Kind::Memory => line!(out, "layer", "memory: a single instance"),
        layer::Kind::Redis(redis) => {
            let how = if redis.is_encrypted() { ", with TLS" } else { "" };
            line!(out, "layer", "Redis at {}{how}: cluster {}", redis.place(), redis.cluster);
            received(config, &redis.cluster, out);
        }
    }
}

/// The queue of RabbitMQ, if there is one.
fn queue(config: &Config, out: &mut String) {
    let Some(amqp) = &config.amqp else { return };
    let topology = &amqp.topology;
    let (queue, exchange) = (&topology.queue, &topology.exchange);
    line!(out, "RabbitMQ", "queue {queue} on {amqp}, from exchange {exchange}");
    let declared = if topology.declare { "declared" } else { "not declared: they must exist" };
    match topology.dead_letter.as_str() {
        "" => line!(out, "", "{declared}; dead letters as the queue has them"),
        exchange => line!(out, "", "{declared}; dead letters to exchange {exchange}"),
    }
}

/// What reaches browsers through Redis, and what does not: a `group_send` without a receiver raises
/// no error.
fn received(config: &Config, cluster: &str, out: &mut String) {
    let channels = &config.sources.channels;
    let groups: Vec<_> = channels.groups.iter().map(|pattern| pattern.as_str()).collect();
    let groups = groups.join(", ");
    match (channels.core, channels.pubsub) {
        (false, false) => {
            line!(out, "group_send", "not received: channels.receive is empty");
        }
        (core, pubsub) => {
            let layers = [("core", core), ("pubsub", pubsub)].into_iter();
            let layers: Vec<_> = layers.filter_map(|(name, on)| on.then_some(name)).collect();
            let (layers, prefix) = (layers.join(" and "), &channels.prefix);
            line!(out, "group_send", "received from {layers}, prefix {prefix:?}, groups {groups}");
            if let Some(server) = &channels.server {
                let how = if server.is_encrypted() { ", with TLS" } else { "" };
                line!(out, "", "on a Redis of its own at {}{how}", server.place());
            }
        }
    }
    match config.sources.ingress {
        true => line!(out, "ingress", "received from the stream {cluster}:ingress"),
        false => line!(out, "ingress", "not received"),
    }
}

fn keys(identity: &identity::Settings, out: &mut String) {
    for key in &identity.keys {
        let id = if key.id.is_empty() { "without kid" } else { &key.id };
        line!(out, "token key", "{id}, {}", key.algorithm);
    }
    let listed = |names: &[String]| match names {
        [] => "not checked".to_owned(),
        names => names.join(" or "),
    };
    line!(out, "", "aud {}, iss {}", listed(&identity.audience), listed(&identity.issuer));
    for key in &identity.api_keys {
        let rights: Vec<_> = key.allow.iter().map(|right| right.as_str()).collect();
        let groups: Vec<_> = key.groups.iter().map(|pattern| pattern.as_str()).collect();
        line!(out, "API key", "{}: {} on {}", key.name, rights.join(", "), groups.join(", "));
    }
}

fn grants(identity: &identity::Settings, out: &mut String) {
    for rule in &identity.grants {
        let operations: Vec<_> = rule.operations.iter().map(|each| each.as_str()).collect();
        let names: Vec<_> = rule.names.iter().map(|name| name.as_str()).collect();
        line!(out, "all tokens", "may {} {}", operations.join(", "), names.join(", "));
    }
    line!(
        out,
        "tokens",
        "claim {:?} lists groups to join, claim {:?} lists grants",
        identity.groups_claim,
        identity.grants_claim
    );
}

fn back_end(backend: &backend::Settings, out: &mut String) {
    if backend.has_hook() {
        line!(
            out,
            "hook",
            "{}{}, at most {} requests at once, answers cached for {:?} (refusals {:?})",
            backend.url,
            backend.connect,
            backend.parallel,
            backend.cache,
            backend.cache_refusals
        );
    }
    if backend.has_calls() {
        let calls = backend.calls_parallel;
        line!(out, "calls", "{}{}, at most {calls} at once", backend.url, backend.calls);
    }
}

fn routes(config: &Config, out: &mut String) {
    for route in &config.server.routes {
        let joins: Vec<_> = route.join.iter().map(|template| template.as_str()).collect();
        let joins = match joins.as_slice() {
            [] => "joins the groups of the token".to_owned(),
            joins => format!("joins {}", joins.join(", ")),
        };
        let anyone = match route.allow {
            Allow::Token => "",
            Allow::Anyone => ", named by the URL",
            Allow::Hook => ", confirmed by the hook",
        };
        let welcome = if route.welcome.is_some() { ", sends a welcome" } else { "" };
        let errors = if route.call_errors { ", reports call errors" } else { "" };
        let events = if route.shape == 0 { "" } else { ", sends listed events only" };
        line!(out, "route", "{} {joins}{anyone}{welcome}{events}{errors}", route.path);
    }
}

fn tasks(config: &Config, out: &mut String) {
    let Some(source) = config.celery.source() else { return };
    line!(out, "tasks", "states in {}<task id>, from {source}", config.celery.group_prefix);
    if config.celery.results.is_none() {
        line!(out, "", "progress takes groupcast.celery.install(app), and workers with -E");
    }
    for started in config.celery.tasks_of_browsers() {
        line!(out, "", "{started}");
    }
}

fn limits(config: &Config, out: &mut String) {
    for (pattern, limits) in &config.connection.group_limits {
        let overflow = match limits.overflow {
            Overflow::DropOldest => "drops the oldest",
            Overflow::DropNewest => "drops the newest",
            Overflow::Latest => "keeps only the newest",
            Overflow::Close => "closes the connection",
        };
        let each = limits.collapse.map(|member| format!(" for each {member:?}"));
        let each = each.unwrap_or_default();
        line!(
            out,
            "group",
            "{pattern}: at most {} queued events, each for {:?}; overflow {overflow}{each}",
            limits.capacity,
            limits.expiry
        );
    }
    line!(
        out,
        "outbox",
        "{} KiB per connection, events of up to {} KiB",
        config.connection.outbox_bytes / 1024,
        config.publish.max_event_bytes / 1024
    );
    let count = match config.server.max_connections {
        0 => ASSUMED_CONNECTIONS,
        most => most,
    };
    // An upper bound: events queued for several connections are stored once.
    let bytes = count.saturating_mul(config.connection.outbox_bytes);
    let mebibytes = bytes.min(config.hub.total_outbox_bytes) >> 20;
    line!(out, "memory", "up to {mebibytes} MiB of events if {count} connections stopped reading");
}
