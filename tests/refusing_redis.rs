//! Redis is away, refuses, or is the wrong server: three states, each with Redis' own words.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Answer, Endpoints, Forwarder, Gateway, Instance, RedisServer, eventually, refused, request,
};

fn over(address: SocketAddr, more: &str) -> String {
    format!("[layer]\nkind = \"redis\"\nurl = \"redis://{address}\"\n{more}")
}

async fn strict(endpoints: &Endpoints) -> Answer {
    request(endpoints.api, "GET /readyz?strict", &[], b"").await
}

async fn plain(endpoints: &Endpoints) -> u16 {
    request(endpoints.api, "GET /readyz", &[], b"").await.status
}

async fn post(endpoints: &Endpoints, group: &str) -> Answer {
    let line = format!("POST /groups/{group}/send");
    endpoints.ask(&line, &[], r#"{"type":"aviso"}"#).await
}

/// Waits until publications to `group` are refused with `words`, which `/readyz?strict` shows, too.
async fn shows(endpoints: &Endpoints, group: &str, words: &str) {
    eventually(&format!("publishers to read {words}"), async || {
        let answer = post(endpoints, group).await;
        answer.status == 503 && answer.body.contains(words)
    })
    .await;
    eventually(&format!("the probe to show {words}"), async || {
        let answer = strict(endpoints).await;
        answer.status == 503 && answer.body.contains(words)
    })
    .await;
}

/// Waits until publications are accepted.
async fn publishes(endpoints: &Endpoints, group: &str) {
    eventually("publications to be accepted", async || post(endpoints, group).await.status == 202)
        .await;
}

#[tokio::test]
async fn a_node_of_a_redis_cluster_ends_the_start_with_its_words() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]).unwrap();
    for slots in [0, 4096, 8192, 12288] {
        let slots: Vec<_> = (slots..slots + 4096).map(|slot: u32| slot.to_string()).collect();
        let words = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(|s| &**s));
        assert_eq!(server.ask(&words.collect::<Vec<_>>()), "+OK\r\n");
    }
    let error = refused(&over(server.address(), "")).await;
    assert!(error.contains("layer.url leads to a Redis Cluster"), "{error}");
    assert!(error.contains("CROSSSLOT"), "{error}");
}

#[tokio::test]
async fn a_sentinel_ends_the_start_with_the_form_of_its_address() {
    let server = RedisServer::sentinel("sentinel monitor mymaster 127.0.0.1 1 1\n").unwrap();
    let error = refused(&over(server.address(), "")).await;
    assert!(error.contains("layer.url leads to a sentinel"), "{error}");
    assert!(error.contains("redis-sentinel://"), "{error}");
}

/// How many connections a server has had.
fn connections_of(server: &RedisServer) -> u64 {
    let stats = server.ask(&["INFO", "stats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.unwrap().trim().parse().unwrap()
}

/// The old primary becomes a replica and the address leads to the new one, with and without the
/// connections being cut.
#[tokio::test]
async fn follows_a_virtual_address_within_two_seconds() {
    for (cuts, late) in [(true, false), (false, false), (false, true)] {
        let (old, new) = (RedisServer::start(), RedisServer::start());
        let port = old.address().port().to_string();
        new.ask(&["REPLICAOF", "127.0.0.1", &port]);
        eventually("the replica to be in step", async || {
            old.ask(&["INFO", "replication"]).contains("state=online")
        })
        .await;
        let forwarder = Forwarder::to(old.address()).await;
        let gateway = Gateway::with(&over(forwarder.address, "")).await;
        gateway.ready().await;
        let mut member = gateway.v1("7").await;
        member.join("sala_1").await;
        assert_eq!(old.ask(&["FAILOVER"]), "+OK\r\n");
        eventually("the promotion", async || new.ask(&["ROLE"]).contains("master")).await;
        if late {
            // A name may follow long after the failover.
            shows(&gateway, "sala_9", "READONLY").await;
            let before = connections_of(&old);
            eventually("several looks", async || connections_of(&old) > before + 20).await;
        }
        if cuts {
            forwarder.cut();
        }
        forwarder.lead_to(new.address());
        let moved = Instant::now();
        publishes(&gateway, "sala_1").await;
        let resumed = moved.elapsed();
        println!("cuts {cuts}, late {late}: resumed after {resumed:?}");
        assert!(resumed < Duration::from_secs(2), "{resumed:?}");
        eventually("an event by way of the new primary", async || {
            member.frame().await["type"] == "event"
        })
        .await;
        eventually("no connection to be left", async || {
            let left = ["normal", "pubsub"].map(|kind| old.ask(&["CLIENT", "LIST", "TYPE", kind]));
            left[1] == "$0\r\n\r\n" && !left[0].contains("cmd=eval")
        })
        .await;
    }
}

#[tokio::test]
async fn a_primary_without_replicas_refuses_publishers_and_keeps_its_subscriptions() {
    let server = RedisServer::start();
    let gateway = Gateway::with(&over(server.address(), "")).await;
    gateway.ready().await;
    let mut member = gateway.v1("7").await;
    member.join("sala_1").await;
    server.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    shows(&gateway, "sala_9", "NOREPLICAS").await;
    server.ask(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    gateway.ready().await;
    gateway.still_serves_group(&mut member, "sala_1").await;
    assert_eq!(gateway.metric("groupcast_layer_subscription_lost_total").await, 0.0);
}

#[tokio::test]
async fn a_full_redis_refuses_what_takes_memory_and_delivers_the_rest() {
    let server = RedisServer::start();
    let history = "[[layer.history]]\npattern = \"pedido.*\"\nsize = 5\nttl = \"1m\"\n";
    let instance = Instance::start(&over(server.address(), history)).await;
    instance.ready().await;
    let mut member = instance.v1("7").await;
    member.join("sala_1").await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    shows(&instance, "pedido.1", "OOM").await;
    instance.still_serves_group(&mut member, "sala_1").await;
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    instance.ready().await;
    publishes(&instance, "pedido.1").await;
    // Written by a thread of its own.
    eventually("the end in the log", async || {
        instance.log().contains("redis accepts commands again")
    })
    .await;
    let log = instance.log();
    assert_eq!(log.matches("redis refuses").count(), 1, "{log}");
    assert_eq!(log.matches("redis accepts commands again").count(), 1, "{log}");
}

/// A connection that stays, for a Redis that takes no new one.
struct Console(TcpStream);

impl Console {
    fn open(server: &RedisServer) -> Self {
        Self(TcpStream::connect(server.address()).unwrap())
    }

    /// One command without spaces in its words.
    fn ask(&mut self, command: &str) {
        self.0.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut answer = [0; 64];
        let length = self.0.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with(['+', ':']), "{command}: {answer}");
    }
}

#[tokio::test]
async fn each_refusal_is_logged_once_with_its_words() {
    let server = RedisServer::start();
    let mut console = Console::open(&server);
    console.ask("ACL SETUSER groupcast on >secret ~* &* +@all");
    let url = format!("redis://groupcast:secret@{}", server.address());
    let instance = Instance::start(&format!("[layer]\nkind = \"redis\"\nurl = \"{url}\"\n")).await;
    instance.ready().await;
    let refusals = [
        ("ACL SETUSER groupcast -evalsha", "ACL SETUSER groupcast +evalsha", "NOPERM"),
        ("ACL SETUSER groupcast resetpass >new", "ACL SETUSER groupcast >secret", "WRONGPASS"),
        ("CONFIG SET maxclients 1", "CONFIG SET maxclients 1000", "max number of clients"),
    ];
    for (refuse, allow, words) in refusals {
        console.ask(refuse);
        console.ask("CLIENT KILL USER groupcast");
        shows(&instance, "sala_1", words).await;
        console.ask(allow);
        publishes(&instance, "sala_1").await;
        instance.ready().await;
    }
    console.ask("CONFIG SET save \"3600 1\"");
    std::fs::remove_dir_all(&server.folder).unwrap();
    console.ask("BGSAVE");
    shows(&instance, "sala_1", "MISCONF").await;
    console.ask("CONFIG SET stop-writes-on-bgsave-error no");
    publishes(&instance, "sala_1").await;
    let log = instance.log();
    for words in ["NOPERM", "WRONGPASS", "max number of clients", "MISCONF"] {
        let lines = log.lines().filter(|line| line.contains("\"redis refuses\""));
        assert_eq!(lines.filter(|line| line.contains(words)).count(), 1, "{words}: {log}");
    }
}

#[tokio::test]
async fn a_password_that_is_missing_shows_from_the_start() {
    let server = RedisServer::start();
    server.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    let gateway = Gateway::with(&over(server.address(), "")).await;
    shows(&gateway, "sala_1", "NOAUTH").await;
}

#[tokio::test]
async fn follows_an_address_to_the_new_primary_after_a_failover() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let port = old.address().port().to_string();
    new.ask(&["REPLICAOF", "127.0.0.1", &port]);
    eventually("the replica to be in step", async || {
        old.ask(&["INFO", "replication"]).contains("state=online")
    })
    .await;
    let forwarder = Forwarder::to(old.address()).await;
    let gateway = Gateway::with(&over(forwarder.address, "")).await;
    gateway.ready().await;
    let mut member = gateway.v1("7").await;
    member.join("sala_1").await;
    assert_eq!(old.ask(&["FAILOVER"]), "+OK\r\n");
    shows(&gateway, "sala_9", "READONLY").await;
    forwarder.lead_to(new.address());
    gateway.ready().await;
    let gap = member.frame().await;
    assert_eq!((&gap["type"], &gap["reason"]), (&json!("gap"), &json!("layer")), "{gap}");
    publishes(&gateway, "sala_1").await;
    eventually("an event by way of the new primary", async || {
        member.frame().await["type"] == "event"
    })
    .await;
    assert_eq!(
        new.ask(&["PUBSUB", "NUMSUB", "groupcast:group:sala_1"]).chars().rev().nth(2),
        Some('1')
    );
}

#[tokio::test]
async fn an_instance_cut_off_from_redis_is_red_while_another_delivers() {
    let server = RedisServer::start();
    let forwarder = Forwarder::to(server.address()).await;
    let cut_off = Gateway::with(&over(forwarder.address, "")).await;
    let other = Gateway::with(&over(server.address(), "")).await;
    for gateway in [&cut_off, &other] {
        gateway.ready().await;
        gateway.metric_reaches("groupcast_layer_peers", 1.0).await;
    }
    // A heartbeat after the other's has brought its address.
    eventually("its address", async || server.ask(&["ZCARD", "groupcast:addresses"]) == ":2\r\n")
        .await;
    cut_off.metric_reaches("groupcast_layer_peers", 1.0).await;
    forwarder.cut();
    eventually("the instance to be red", async || plain(&cut_off).await == 503).await;
    eventually("its heartbeats to be forgotten", async || {
        other.metric("groupcast_layer_peers").await == 0.0
    })
    .await;
    assert_eq!(plain(&cut_off).await, 503, "it has asked the other");
    assert_eq!((plain(&other).await, other.strict().await), (200, 200));
    drop(other);
    // Now none delivers.
    eventually("the instance to be green", async || plain(&cut_off).await == 200).await;
    assert_eq!(cut_off.strict().await, 503);
    forwarder.lead_to(server.address());
    cut_off.ready().await;
}
