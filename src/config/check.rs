//! Builds the settings of every room from the raw file, with the checks that involve several
//! values.

use super::range::{at_least_one, period, seconds, within};
use super::raw::{self, Raw};
use super::units::Size;
use super::{Config, ConfigError, ReferenceContext};
use super::{amqp, backend, celery, credentials, redis, routes};
use crate::group::GroupPattern;
use crate::socket;
use crate::{api, coordinator, hub, publish, server, telemetry};

/// Bytes that a frame adds to its event: header, member names, a group name of 99 bytes, an offset.
///
/// The sum is below 200; the rest is for routes that give events longer names.
const FRAMING: usize = 1024;

/// Builds the settings of all rooms.
pub(super) fn check(raw: &Raw, context: &ReferenceContext) -> Result<Config, ConfigError> {
    let backend = backend::backend(raw, context)?;
    let routes::CheckedRoutes { routes, shapes, claims } =
        routes::build(&raw.route.0, backend.has_hook())?;
    let sources = redis::sources(raw, context)?;
    Ok(Config {
        api: api(raw)?,
        server: server::Settings { routes, ..server(raw)? },
        connection: connection(raw)?,
        hub: hub(raw)?,
        publish: publish(raw)?,
        layer: redis::layer(raw, &sources, context)?,
        sources,
        amqp: amqp::amqp(raw, context)?,
        celery: celery::celery(raw, context)?,
        backend,
        coordinator: coordinator::Settings { linger: period("hub.linger", raw.hub.linger)? },
        identity: credentials::identity(raw, claims, context)?,
        log: log(&raw.log)?,
        shapes,
        ignored_variables: Vec::new(),
    })
}

fn api(raw: &Raw) -> Result<api::Settings, ConfigError> {
    let listen = &raw.listen;
    if listen.api == listen.public && listen.api.port() != 0 {
        let expected = format!("any address but listen.public ({})", listen.public);
        return Err(ConfigError::value("listen.api", listen.api, expected));
    }
    Ok(api::Settings { address: listen.api, timeout: period("api.timeout", raw.api.timeout)? })
}

fn server(raw: &Raw) -> Result<server::Settings, ConfigError> {
    let (connections, auth) = (&raw.connections, &raw.auth);
    for (index, origin) in auth.allowed_origins.iter().enumerate() {
        check_origin(&format!("auth.allowed_origins[{index}]"), origin)?;
    }
    check_name("auth.cookie", &auth.cookie)?;
    check_name("auth.url_parameter", &auth.url_parameter)?;
    Ok(server::Settings {
        public: raw.listen.public,
        max_connections: connections.max,
        max_handshakes: at_least_one("connections.max_handshakes", connections.max_handshakes)?,
        header_timeout: period("connections.header_timeout", connections.header_timeout)?,
        hello_timeout: period("connections.hello_timeout", connections.hello_timeout)?,
        token_cookie: auth.cookie.clone(),
        token_parameter: auth.url_parameter.clone(),
        allowed_origins: auth.allowed_origins.clone(),
        retry_window: period("connections.retry_window", connections.retry_window)?,
        drain_grace: period("drain.grace", raw.drain.grace)?,
        routes: Vec::new(),
    })
}

fn connection(raw: &Raw) -> Result<socket::Settings, ConfigError> {
    let limits = &raw.limits;
    let frame =
        within("limits.max_frame_bytes", limits.max_frame_bytes, Size(125), Size(16 << 20))?;
    let lowat =
        within("limits.notsent_lowat", limits.notsent_lowat, Size(1), Size(i32::MAX as usize))?;
    Ok(socket::Settings {
        outbox_bytes: at_least_one("limits.outbox_bytes", limits.outbox_bytes)?.0,
        max_frame_bytes: frame.0,
        frames_per_second: at_least_one("limits.frames_per_second", limits.frames_per_second)?,
        frame_burst: at_least_one("limits.frame_burst", limits.frame_burst)?,
        groups_per_connection: at_least_one(
            "limits.groups_per_connection",
            limits.groups_per_connection,
        )?,
        notsent_lowat: lowat.0 as u32,
        ping: seconds("connections.ping", raw.connections.ping)?,
        ping_grace: seconds("connections.ping_grace", raw.connections.ping_grace)?,
        group_limits: group_limits(raw)?,
    })
}

/// The list ends with `*`, so that every group has limits: the default's, where the file has none.
fn group_limits(raw: &Raw) -> Result<Vec<(GroupPattern, socket::Limits)>, ConfigError> {
    let mut limits = Vec::new();
    for (index, group) in raw.limits.group.iter().enumerate() {
        let key = |name: &str| format!("limits.group[{index}].{name}");
        if let Some((earlier, _)) = limits.last()
            && GroupPattern::as_str(earlier) == "*"
        {
            let expected = "patterns before \"*\", since the first match wins";
            return Err(ConfigError::value(
                key("pattern"),
                format!("{:?}", group.pattern),
                expected,
            ));
        }
        let pattern = credentials::pattern(&key("pattern"), &group.pattern)?;
        let limit = socket::Limits {
            capacity: at_least_one(&key("capacity"), group.capacity)?,
            expiry: period(&key("expiry"), group.expiry)?,
            overflow: group.overflow,
            collapse: collapse(&key("collapse"), group)?,
        };
        limits.push((pattern, limit));
    }
    if limits.last().is_none_or(|(last, _)| last.as_str() != "*") {
        limits.extend(socket::Settings::default().group_limits);
    }
    let tasks = format!("{}*", raw.celery.group_prefix);
    let is_written = limits.iter().any(|(pattern, _)| pattern.as_str() == tasks);
    if celery::is_on(raw) && !is_written {
        let pattern = credentials::pattern("celery.group_prefix", &tasks)?;
        let overflow = socket::Overflow::Latest;
        // A site may send events of its own to the group of a task: they replace no state.
        let collapse = Some("id");
        let limit = socket::Limits { overflow, collapse, ..socket::Limits::default() };
        limits.insert(0, (pattern, limit));
    }
    Ok(limits)
}

/// The member by which events replace each other, for as long as the process lives.
fn collapse(key: &str, group: &raw::GroupLimitsTable) -> Result<Option<&'static str>, ConfigError> {
    let member = group.collapse.as_str();
    match (member, group.overflow) {
        ("", _) => Ok(None),
        (_, socket::Overflow::Latest) => Ok(Some(member.to_owned().leak())),
        _ => {
            let expected = "overflow = \"latest\" beside it";
            Err(ConfigError::value(key.to_owned(), format!("{member:?}"), expected))
        }
    }
}

fn hub(raw: &Raw) -> Result<hub::Settings, ConfigError> {
    Ok(hub::Settings {
        shards: raw.hub.shards,
        connections_per_user: at_least_one("connections.per_user", raw.connections.per_user)?,
        inbox: at_least_one("hub.inbox", raw.hub.inbox)?,
        total_outbox_bytes: total_outbox_bytes(raw)?,
        requests: at_least_one("hub.requests", raw.hub.requests)?,
        drain_rate: at_least_one("drain.rate", raw.drain.rate)?,
    })
}

fn total_outbox_bytes(raw: &Raw) -> Result<usize, ConfigError> {
    let (total, one) = (raw.limits.total_outbox_bytes, raw.limits.outbox_bytes);
    if total < one {
        let allowed = format!("at least limits.outbox_bytes ({one})");
        return Err(ConfigError::value("limits.total_outbox_bytes", total, allowed));
    }
    Ok(total.0)
}

fn publish(raw: &Raw) -> Result<publish::Settings, ConfigError> {
    let (event, outbox) = (raw.limits.max_event_bytes, raw.limits.outbox_bytes);
    let largest = Size(outbox.0.saturating_sub(FRAMING));
    if event.0 == 0 || event > largest {
        let expected = format!(
            "1 to {largest}, which is limits.outbox_bytes ({outbox}) less {FRAMING} for framing"
        );
        return Err(ConfigError::value("limits.max_event_bytes", event, expected));
    }
    Ok(publish::Settings {
        max_event_bytes: event.0,
        idempotency_window: period("api.idempotency_window", raw.api.idempotency_window)?,
        idempotency_keys: at_least_one("api.idempotency_keys", raw.api.idempotency_keys)?,
        user_keys: at_least_one("limits.keys_per_user", raw.limits.keys_per_user)?,
        publish_timeout: period("api.publish_timeout", raw.api.publish_timeout)?,
    })
}

fn log(log: &raw::LogSection) -> Result<telemetry::LogSettings, ConfigError> {
    let settings = telemetry::LogSettings { filter: log.level.clone(), format: log.format };
    // A directive without '=' that is no level would name a module, and silence all others.
    let mut alone = log.level.split(',').filter(|directive| !directive.contains('='));
    if settings.check().is_err() || !alone.all(is_level) {
        let expected = "error, warn, info, debug, trace, or \"info,groupcast::hub=debug\"";
        return Err(ConfigError::value("log.level", format!("{:?}", log.level), expected));
    }
    Ok(settings)
}

/// An origin as a browser sends it (RFC 6454 section 6.2), since it is compared byte by byte.
fn check_origin(key: &str, origin: &str) -> Result<(), ConfigError> {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let legal = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | ':' | '[' | ']' | '_');
    match host {
        Some(host) if !host.is_empty() && host.chars().all(legal) => Ok(()),
        _ => {
            let expected =
                "scheme, host in lower case and port if any, such as https://shop.example";
            Err(ConfigError::value(key, format!("{origin:?}"), expected))
        }
    }
}

/// A name of a cookie or query parameter; empty = not used.
fn check_name(key: &str, name: &str) -> Result<(), ConfigError> {
    if name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        return Ok(());
    }
    let expected = "letters, digits, '_', '-' and '.', or empty";
    Err(ConfigError::value(key, format!("{name:?}"), expected))
}

fn is_level(directive: &str) -> bool {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    levels.iter().any(|level| directive.trim().eq_ignore_ascii_case(level))
}
