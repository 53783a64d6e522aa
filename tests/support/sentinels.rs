//! A primary and a replica that sentinels watch.

use std::net::SocketAddr;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{RedisServer, eventually};

/// Sentinels that have to agree on a failover.
const QUORUM: usize = 2;

/// Milliseconds of silence after which a sentinel counts a server as down.
const DOWN_AFTER: u64 = 1000;

/// How long the sentinels wait before they try a failover again, milliseconds.
const FAILOVER_TIMEOUT: u64 = 3000;

/// Two servers and three sentinels, which know each other and the replica.
pub(crate) struct WatchedRedis {
    /// The first primary and its replica.
    pub(crate) servers: [RedisServer; 2],
    pub(crate) sentinels: Vec<RedisServer>,
}

impl WatchedRedis {
    /// Starts them with these options of Redis, and more lines for the sentinels.
    pub(crate) async fn start(options: &[&str], more: &str) -> Self {
        let options = [&["--repl-diskless-sync-delay", "0"], options].concat();
        let servers = [(); 2].map(|()| RedisServer::start_with(&options).unwrap());
        let port = servers[0].address().port();
        servers[1].ask(&["REPLICAOF", "127.0.0.1", &port.to_string()]);
        // A sentinel asks for replicas at once, then only each ten seconds.
        eventually("the replica to be in step", async || {
            servers[0].ask(&["INFO", "replication"]).contains("state=online")
        })
        .await;
        let configuration = format!(
            "sentinel monitor mymaster 127.0.0.1 {port} {QUORUM}\n\
             sentinel down-after-milliseconds mymaster {DOWN_AFTER}\n\
             sentinel failover-timeout mymaster {FAILOVER_TIMEOUT}\n{more}"
        );
        let sentinel = |()| RedisServer::sentinel(&configuration).unwrap();
        let watched = Self { servers, sentinels: [(); 3].map(sentinel).into() };
        watched.wait_until_known().await;
        watched
    }

    /// Waits until each sentinel knows the others and the replica.
    async fn wait_until_known(&self) {
        for sentinel in &self.sentinels {
            eventually("the sentinels to know each other and the replica", async || {
                let known = sentinel.ask(&["SENTINEL", "MASTER", "mymaster"]);
                let after = |name: &str| {
                    let rest = known.split_once(name).map(|(_, rest)| rest.to_owned());
                    rest.unwrap_or_default().split("\r\n").nth(2).map(str::to_owned)
                };
                let count = |name| after(name).and_then(|text| text.parse::<u32>().ok());
                let replica = sentinel.ask(&["SENTINEL", "REPLICAS", "mymaster"]);
                count("num-other-sentinels") == Some(2)
                    && count("num-slaves") == Some(1)
                    && replica.contains("\r\nslave\r\n")
                    && replica.contains("\r\nok\r\n")
            })
            .await;
        }
    }

    /// The sentinels as a configuration names them.
    pub(crate) fn url(&self) -> String {
        let all: Vec<_> = self.sentinels.iter().map(|it| it.address().to_string()).collect();
        format!("redis-sentinel://{}/mymaster", all.join(","))
    }

    /// Where one of the sentinels says that the primary is.
    pub(crate) fn named(&self, sentinel: usize) -> Option<SocketAddr> {
        let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"];
        let answer = self.sentinels[sentinel].ask(&question);
        let mut words = answer.split("\r\n").skip(2).step_by(2);
        format!("{}:{}", words.next()?, words.next()?).parse().ok()
    }

    /// Waits until this server has been promoted.
    pub(crate) async fn promoted(&self, server: usize) {
        eventually("the replica to be promoted", async || {
            self.servers[server].ask(&["ROLE"]).contains("master")
        })
        .await;
    }

    /// Stops a server without closing its connections, or lets it go on.
    pub(crate) fn signal(&self, server: usize, signal: Signal) {
        kill(Pid::from_raw(self.servers[server].pid() as i32), signal).unwrap();
    }
}
