//! Two Redis servers, primary and replica, which change places; addresses that lead to the primary.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Forwarder, RedisServer, eventually};

/// A primary and its replica.
pub(super) struct RedisPair {
    servers: [RedisServer; 2],
    primary: AtomicUsize,
}

impl RedisPair {
    pub(super) async fn start() -> Self {
        let servers = [RedisServer::start(), RedisServer::start()];
        let port = servers[0].address().port().to_string();
        servers[1].ask(&["REPLICAOF", "127.0.0.1", &port]);
        let pair = Self { servers, primary: AtomicUsize::new(0) };
        pair.wait_until_in_step().await;
        pair
    }

    pub(super) fn primary(&self) -> &RedisServer {
        &self.servers[self.primary.load(Ordering::Relaxed)]
    }

    /// One command to the primary.
    pub(super) fn ask(&self, words: &[impl AsRef<[u8]>]) -> String {
        self.primary().ask(words)
    }

    /// A planned failover: the replica has everything when it becomes the primary. Then `paths`
    /// lead new connections to it; those that exist stay with the old primary, as when a name in
    /// the DNS changes.
    pub(super) async fn fail_over(&self, paths: &[Forwarder]) {
        self.wait_until_in_step().await;
        assert_eq!(self.ask(&["FAILOVER"]), "+OK\r\n");
        let other = 1 - self.primary.load(Ordering::Relaxed);
        eventually("the replica to be the primary", async || {
            self.servers[other].ask(&["ROLE"]).contains("master")
        })
        .await;
        self.primary.store(other, Ordering::Relaxed);
        for path in paths {
            path.lead_to(self.primary().address());
        }
    }

    /// Refuses all writes with `NOREPLICAS` or `OOM` for `length`.
    pub(super) async fn refuse(&self, setting: &str, refusing: &str, length: Duration) {
        assert_eq!(self.ask(&["CONFIG", "SET", setting, refusing]), "+OK\r\n");
        tokio::time::sleep(length).await;
        assert_eq!(self.ask(&["CONFIG", "SET", setting, "0"]), "+OK\r\n");
    }

    async fn wait_until_in_step(&self) {
        eventually("the replica to be in step", async || {
            self.ask(&["INFO", "replication"]).contains("state=online")
        })
        .await;
    }
}
