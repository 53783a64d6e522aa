//! The Redis server: version, role, memory, persistence, round trip, clock, buffers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Finding;
use crate::clock;
use crate::layer::{RedisSession, ScriptError};

/// ZADD GT and EXPIRE by scripts under ACLs are of this version.
const OLDEST: (u32, u32) = (6, 2);

/// Answers that are timed.
const PINGS: usize = 7;

/// A round trip from which users notice the delay.
const SLOW: Duration = Duration::from_millis(20);

/// Seconds by which clocks may differ without a warning.
const SKEW: f64 = 2.0;

/// Seconds by which clocks may differ at most: Fernet's allowance, and the library's default
/// `expiry`.
const MAX_SKEW: f64 = 60.0;

/// Redis' default hard limit of a subscriber's buffer, bytes.
const SUBSCRIBER_BUFFER: u64 = 32 * 1024 * 1024;

/// Connections of one instance, and some for another that starts while it still runs.
const CONNECTIONS: u64 = 8;

/// The fields of INFO.
#[derive(Debug, Default)]
pub(super) struct RedisInfo(HashMap<String, String>);

impl RedisInfo {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Self(pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect())
    }

    pub(super) async fn ask(session: &RedisSession) -> Result<Self, ScriptError> {
        Ok(Self::parse(&session.ask::<String>(&["INFO"]).await?))
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    fn number(&self, key: &str) -> u64 {
        self.text(key).parse().unwrap_or(0)
    }

    /// Databases that hold something, and how many keys.
    pub(super) fn databases(&self) -> Vec<(u32, u64)> {
        let database = |(key, value): (&String, &String)| {
            let number = key.strip_prefix("db")?.parse().ok()?;
            let keys = value.strip_prefix("keys=")?.split(',').next()?.parse().ok()?;
            Some((number, keys))
        };
        let mut found: Vec<_> = self.0.iter().filter_map(database).collect();
        found.sort_unstable();
        found
    }
}

/// Everything that needs no rights beyond INFO, PING and TIME.
pub(super) async fn examine(session: &RedisSession, findings: &mut Vec<Finding>) {
    match RedisInfo::ask(session).await {
        Ok(info) => {
            findings.push(version(&info));
            findings.extend(role(&info));
            findings.push(memory(&info));
            findings.push(persistence(&info));
            findings.extend(connections(&info));
        }
        Err(error) => findings.push(Finding::fail(
            "redis version",
            error.to_string(),
            "allow +info; every script asks it for the run id of the server",
        )),
    }
    findings.extend(round_trip(session).await);
    findings.extend(clock_of(session).await);
    findings.push(subscriber_buffer(session).await);
}

pub(super) fn version(info: &RedisInfo) -> Finding {
    let text = info.text("redis_version");
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let (major, minor) = OLDEST;
    match info.text("valkey_version") {
        "" if found < OLDEST => Finding::fail(
            "redis version",
            format!("{text:?}; {major}.{minor} or newer is needed"),
            "update Redis: members are written by ZADD GT, which older ones do not have",
        ),
        "" => Finding::ok("redis version", text),
        valkey => Finding::ok("redis version", format!("Valkey {valkey}, as Redis {text}")),
    }
}

fn role(info: &RedisInfo) -> Option<Finding> {
    let (mode, role) = (info.text("redis_mode"), info.text("role"));
    if !matches!(mode, "standalone" | "") {
        let advice = match mode {
            "sentinel" => "name the primary that it watches: redis-sentinel://host:26379/mymaster",
            _ => "give one server by its own address; Cluster is not supported",
        };
        return Some(Finding::fail("redis mode", mode, advice));
    }
    (role == "slave").then(|| {
        let master = format!("a replica of {}", info.text("master_host"));
        Finding::fail("redis role", master, "give the primary's address: replicas refuse writes")
    })
}

pub(super) fn memory(info: &RedisInfo) -> Finding {
    let (used, most) = (info.number("used_memory"), info.number("maxmemory"));
    let policy = info.text("maxmemory_policy");
    let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
    if most == 0 {
        return Finding::ok("memory", format!("{} used, no limit", mebibytes(used)));
    }
    let found = format!("{} of {} used, {policy}", mebibytes(used), mebibytes(most));
    if policy != "noeviction" {
        let advice = "CONFIG SET maxmemory-policy noeviction: anything else may delete members and \
                      mailboxes, and events with them, silently";
        return Finding::warn("memory", found, advice);
    }
    if used > most / 10 * 9 {
        let advice = "raise maxmemory: a full Redis refuses what is sent";
        return Finding::warn("memory", found, advice);
    }
    Finding::ok("memory", found)
}

/// Only for information: no promise of the gateway depends on it.
pub(super) fn persistence(info: &RedisInfo) -> Finding {
    let log = if info.text("aof_enabled") == "1" { "append-only file" } else { "" };
    let failed = [
        ("rdb_last_bgsave_status", "the last snapshot"),
        ("aof_last_write_status", "the append-only file's last write"),
    ];
    for (key, what) in failed {
        if !matches!(info.text(key), "ok" | "") {
            let found = format!("{what} failed");
            let advice = "check Redis' log and disk: it may refuse all writes";
            return Finding::warn("persistence", found, advice);
        }
    }
    // The time of the last snapshot is that of the start as long as there was none.
    let snapshot = match (info.number("rdb_saves"), info.number("rdb_last_save_time")) {
        (0, _) => String::new(),
        (_, at) => format!("last snapshot {} ago", span(now() - at as f64)),
    };
    let kept: Vec<_> = [log, &snapshot].into_iter().filter(|text| !text.is_empty()).collect();
    Finding::ok(
        "persistence",
        match kept.as_slice() {
            [] => "none seen; mailboxes and histories are lost when Redis stops".to_owned(),
            kept => kept.join(", "),
        },
    )
}

fn connections(info: &RedisInfo) -> Option<Finding> {
    let (used, most) = (info.number("connected_clients"), info.number("maxclients"));
    (most > 0 && used + CONNECTIONS > most).then(|| {
        let found = format!("{used} of {most}");
        Finding::warn("connections", found, "raise maxclients: an instance needs three")
    })
}

async fn round_trip(session: &RedisSession) -> Option<Finding> {
    let mut took = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let begun = Instant::now();
        session.ask::<String>(&["PING"]).await.ok()?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    let median = took[PINGS / 2];
    let found = format!("{:.2} ms", median.as_secs_f64() * 1000.0);
    Some(match median < SLOW {
        true => Finding::ok("round trip", found),
        false => Finding::warn(
            "round trip",
            found,
            "place Redis nearer: each event takes one round trip, each join two",
        ),
    })
}

async fn clock_of(session: &RedisSession) -> Option<Finding> {
    let before = now();
    let there = time(session).await.ok()?;
    let after = now();
    // Read at some moment between the request and the answer.
    let difference = there - f64::midpoint(before, after);
    let uncertain = (after - before) / 2.0;
    Some(clock_difference(difference, uncertain))
}

/// Seconds by which Redis is ahead of this machine, and how far off that may be.
pub(super) fn clock_difference(difference: f64, uncertain: f64) -> Finding {
    let direction = if difference < 0.0 { "behind" } else { "ahead of" };
    let found = format!("Redis is {:.3} s {direction} this machine", difference.abs());
    let least = difference.abs() - uncertain;
    let advice = "synchronise the clocks (chrony, systemd-timesyncd): channels_redis removes \
                  messages and members by the sender's clock, tokens expire by this one's";
    match least {
        _ if least > MAX_SKEW => Finding::fail("clock", found, advice),
        _ if least > SKEW => Finding::warn("clock", found, advice),
        _ => Finding::ok("clock", found),
    }
}

async fn subscriber_buffer(session: &RedisSession) -> Finding {
    let name = "client-output-buffer-limit";
    let limits = session.ask::<Vec<String>>(&["CONFIG", "GET", name]).await;
    match limits.ok().and_then(|answer| answer.get(1).cloned()) {
        Some(limits) => buffer_limits(&limits),
        None => Finding::ok(
            "pub/sub buffer",
            "unknown (CONFIG GET is not allowed); Redis' default is 32 MiB, 8 MiB for 60 s",
        ),
    }
}

pub(super) fn buffer_limits(limits: &str) -> Finding {
    let parts: Vec<_> = limits.split_whitespace().collect();
    let at = parts.iter().position(|part| *part == "pubsub");
    let number =
        |offset: usize| at.and_then(|at| parts.get(at + offset)?.parse::<u64>().ok()).unwrap_or(0);
    let (hard, soft, seconds) = (number(1), number(2), number(3));
    let mebibytes = |bytes: u64| match bytes {
        0 => "no limit".to_owned(),
        _ => format!("{} MiB", bytes as f64 / f64::from(1 << 20)),
    };
    let found = format!("{}, {} for {seconds} s", mebibytes(hard), mebibytes(soft));
    if (1..SUBSCRIBER_BUFFER).contains(&hard) {
        let advice = "CONFIG SET client-output-buffer-limit \"pubsub 33554432 8388608 60\" or \
                      more: Redis disconnects an instance that is that far behind, and all its \
                      groups get a gap";
        return Finding::warn("pub/sub buffer", found, advice);
    }
    Finding::ok("pub/sub buffer", found)
}

/// The server's clock, seconds since 1970.
pub(super) async fn time(session: &RedisSession) -> Result<f64, ScriptError> {
    let (seconds, micros) = session.ask::<(f64, f64)>(&["TIME"]).await?;
    Ok(seconds + micros / 1e6)
}

/// This machine's clock, seconds since 1970.
pub(super) fn now() -> f64 {
    clock::since_epoch().as_secs_f64()
}

/// A span of seconds in a readable unit.
pub(super) fn span(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}
