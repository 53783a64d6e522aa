//! Redis: a server of the run's own, a plain client, and what Django's channel layer writes to it.

pub mod bare;
pub mod group_send;
#[allow(dead_code, reason = "tests also end servers and start them again")]
#[path = "../../../tests/support/redis.rs"]
pub mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use resp::{Connection, Reply};
pub(crate) use server::{RedisServer, resp};

/// Starts a server that keeps its data in memory.
pub(crate) fn start() -> io::Result<RedisServer> {
    RedisServer::start_with(&["--appendonly", "no"])
}

/// Calls of each command so far, scripts' own calls included.
pub(crate) fn commands(server: &RedisServer) -> io::Result<BTreeMap<String, u64>> {
    let mut connection = Connection::open(server.address())?;
    match connection.ask(&[b"INFO", b"commandstats"])? {
        Reply::Bulk(text) => Ok(calls(&String::from_utf8_lossy(&text))),
        other => Err(io::Error::other(format!("INFO answers with {other:?}"))),
    }
}

/// Reads lines such as `cmdstat_client|setname:calls=3,usec=8,…`.
fn calls(info: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let calls = figures.split(',').find_map(|figure| figure.strip_prefix("calls="))?;
        Some((name.to_owned(), calls.parse().ok()?))
    };
    info.lines().filter_map(line).collect()
}
