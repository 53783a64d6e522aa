//! Redis fails, loses data, refuses commands or has keys of the wrong type while Django sends.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{
    Django, Endpoints, Gateway, Instance, Python, RedisServer, Snapshot, VirtualClients,
    eventually, expected_of_all, mailbox, refused,
};

const GROUPS: [&str; 4] = ["sala_0", "sala_1", "pedido.0", "pedido.1"];

/// The longest until delivery resumes.
const RESUMED: Duration = Duration::from_secs(2);
/// The longest until a loss shows in `/readyz?strict`.
const SHOWN: Duration = Duration::from_secs(3);

/// Members of all groups, three of each.
async fn clients(places: &[Endpoints]) -> VirtualClients {
    let mut clients =
        VirtualClients::new(places.iter().map(|endpoints| endpoints.public).collect(), 1);
    for group in GROUPS {
        (0..3).for_each(|_| clients.add(&[group]));
    }
    clients.wait_until_joined().await;
    clients
}

async fn gateways(django: &Django) -> [Gateway; 2] {
    let both = [Gateway::with(&django.gateway()).await, Gateway::with(&django.gateway()).await];
    for gateway in &both {
        gateway.ready().await;
    }
    both
}

async fn wait_until_loss_shows(gateway: &Endpoints) {
    let since = Instant::now();
    eventually("the loss to show", async || gateway.strict().await == 503).await;
    assert!(since.elapsed() < SHOWN, "{:?}", since.elapsed());
}

#[tokio::test]
async fn senders_find_the_groups_again_after_a_restart_with_or_without_data() {
    let mut server = RedisServer::start();
    let django = Django::core(&server);
    let gateways = gateways(&django).await;
    let mut clients = clients(&gateways.each_ref().map(|gateway| **gateway)).await;
    let mut summaries = vec![django.send(0, &GROUPS, 5).await];
    for (sender, empty) in [(1, false), (2, true)] {
        // Entries that wait in a mailbox are lost with the data.
        clients.wait_until_received(expected_of_all(&summaries)).await;
        server.kill();
        for gateway in &gateways {
            wait_until_loss_shows(gateway).await;
        }
        if empty {
            server.wipe();
        }
        server.start_again();
        let since = Instant::now();
        for gateway in &gateways {
            gateway.ready().await;
        }
        assert!(since.elapsed() < RESUMED, "{:?}", since.elapsed());
        // A gateway that is ready has registered its groups.
        summaries.push(django.send(sender, &GROUPS, 5).await);
    }
    for oracle in clients.finish(expected_of_all(&summaries)).await {
        assert_eq!(oracle.events, 15);
        let gaps: u64 = GROUPS.iter().map(|group| oracle.gaps(group)).sum();
        assert!(gaps >= 2, "two possible losses: {gaps}");
    }
}

#[tokio::test]
async fn does_not_deliver_again_what_an_old_snapshot_brings_back() {
    let mut server = RedisServer::start();
    let django = Django::core(&server);
    let only = Instance::start(&django.gateway()).await;
    only.ready().await;
    let clients = clients(&[*only]).await;
    let mut summaries = vec![django.send(0, &GROUPS, 5).await];
    // Taken while entries wait in the mailboxes.
    only.signal(Signal::SIGSTOP);
    eventually("the instance to stop", async || only.is_stopped()).await;
    summaries.push(django.send(1, &GROUPS, 20).await);
    let waiting = server.ask(&["ZCARD", &mailbox(&server, "sala_0")]);
    assert_ne!(waiting, ":0\r\n");
    let snapshot = Snapshot::of(&server);
    only.signal(Signal::SIGCONT);
    for group in GROUPS {
        let key = mailbox(&server, group);
        eventually("the mailbox to be empty", async || server.ask(&["EXISTS", &key]) == ":0\r\n")
            .await;
    }
    server.kill();
    wait_until_loss_shows(&only).await;
    snapshot.put_back(&server);
    server.start_again();
    only.ready().await;
    summaries.push(django.send(2, &GROUPS, 5).await);
    for oracle in clients.finish(expected_of_all(&summaries)).await {
        assert_eq!(oracle.events, 30);
    }
    only.metric_reaches("groupcast_source_duplicates_total", 80.0).await;
}

#[tokio::test]
async fn reports_a_gap_after_flushall_and_continues() {
    let server = RedisServer::start();
    let django = Django::core(&server);
    let gateways = gateways(&django).await;
    let mut clients = clients(&gateways.each_ref().map(|gateway| **gateway)).await;
    let options = json!({"groups": GROUPS, "processes": 2, "pause": 0.005});
    let mut senders = Python::senders(django.options(options)).await;
    senders.write_line("go");
    for _ in 0..2 {
        server.ask(&["FLUSHDB"]);
        for group in GROUPS {
            let key = format!("asgi:group:{group}");
            eventually("senders to find the groups", async || {
                clients.check();
                server.ask(&["EXISTS", &key]) == ":1\r\n"
            })
            .await;
        }
        for gateway in &gateways {
            gateway.ready().await;
        }
    }
    senders.write_line("end");
    let summary = senders.summary().await;
    for oracle in clients.finish(expected_of_all(&[summary])).await {
        assert!(GROUPS.iter().any(|group| oracle.gaps(group) > 0));
    }
}

#[tokio::test]
async fn a_broken_subscription_is_recovered_from_history_or_reported_as_a_gap() {
    let server = RedisServer::start();
    let django = Django::core(&server);
    let gateways = gateways(&django).await;
    let mut clients = clients(&gateways.each_ref().map(|gateway| **gateway)).await;
    let options = json!({"groups": GROUPS, "processes": 2, "pause": 0.005, "below": 50});
    let mut senders = Python::senders(django.options(options)).await;
    senders.write_line("go");
    for _ in 0..5 {
        assert_eq!(server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]), ":2\r\n");
        let listening = || server.ask(&["CLIENT", "LIST", "TYPE", "pubsub"]).matches("id=").count();
        eventually("both to be subscribed again", async || listening() == 2).await;
        for gateway in &gateways {
            gateway.ready().await;
        }
        clients.check();
    }
    senders.write_line("end");
    let summary = senders.summary().await;
    for oracle in clients.finish(expected_of_all(&[summary])).await {
        assert_eq!(GROUPS[2..].iter().map(|group| oracle.missed(group)).sum::<u64>(), 0);
    }
}

#[tokio::test]
async fn starts_and_delivers_what_waits_while_redis_is_out_of_memory() {
    let server = RedisServer::start();
    let django = Django::core(&server);
    let mut only = Instance::start(&django.gateway()).await;
    only.ready().await;
    let clients = clients(&[*only]).await;
    only.kill();
    let mut summaries = vec![django.send(0, &GROUPS, 10).await];
    assert_eq!(server.ask(&["CONFIG", "SET", "maxmemory", "1mb"]), "+OK\r\n");
    only.start_again().await;
    clients.set_address(0, only.public);
    for group in GROUPS {
        let key = mailbox(&server, group);
        eventually("the mailbox to be empty", async || server.ask(&["EXISTS", &key]) == ":0\r\n")
            .await;
    }
    // A publication to a history needs memory.
    let refused = only.ask("POST /groups/pedido.0/send", &[], r#"{"type":"aviso"}"#).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    summaries.push(django.send(1, &GROUPS, 5).await);
    let mut expected = expected_of_all(&summaries);
    for room in &GROUPS[..2] {
        // Parked entries of a group without history go to the member that returns first.
        expected.get_mut(*room).unwrap().remove(&0);
    }
    for oracle in clients.finish(expected).await {
        assert_eq!(GROUPS[2..].iter().map(|group| oracle.missed(group)).sum::<u64>(), 0);
    }
}

#[tokio::test]
async fn a_history_key_of_the_wrong_type_blocks_its_own_group_only() {
    let server = RedisServer::start();
    // One mailbox, so that entries of the other groups are behind it.
    let django = Django::core(&server).with(json!({}), "boxes = 1");
    let gateways = gateways(&django).await;
    let mut clients = clients(&gateways.each_ref().map(|gateway| **gateway)).await;
    let mut others = VirtualClients::new(vec![gateways[0].public], 1);
    others.add(&["sala_0"]);
    others.add(&["pedido.1"]);
    others.wait_until_joined().await;
    assert_eq!(server.ask(&["SET", "groupcast:log:{pedido.0}", "no"]), "+OK\r\n");
    let first = django.send(0, &GROUPS, 10).await;
    others.finish(expected_of_all(std::slice::from_ref(&first))).await;
    clients.check();
    gateways[0]
        .metric_reaches(r#"groupcast_source_entries_total{fate="left_in_source"}"#, 0.0)
        .await;
    assert_eq!(
        server.ask(&["ZCARD", &mailbox(&server, "pedido.0")]),
        ":10\r\n",
        "its entries wait"
    );
    server.ask(&["DEL", "groupcast:log:{pedido.0}"]);
    let second = django.send(1, &GROUPS, 5).await;
    for oracle in clients.finish(expected_of_all(&[first, second])).await {
        assert_eq!((oracle.events, oracle.gaps), (15, 0));
    }
}

#[tokio::test]
async fn a_mailbox_of_the_wrong_type_is_reported_and_blocks_no_other() {
    let server = RedisServer::start();
    let django = Django::core(&server);
    let only = Instance::start(&django.gateway()).await;
    only.ready().await;
    let clients = clients(&[*only]).await;
    let broken = mailbox(&server, "sala_0");
    assert!(GROUPS[1..].iter().all(|group| mailbox(&server, group) != broken), "mailboxes differ");
    assert_eq!(server.ask(&["SET", &broken, "no"]), "+OK\r\n");
    wait_until_loss_shows(&only).await;
    let mut summaries = Vec::new();
    for sender in 0..3 {
        summaries.push(django.send(sender, &GROUPS[1..], 10).await);
        assert_eq!(only.strict().await, 503, "while the key is there");
    }
    let log = only.log();
    let errors = log.lines().filter(|line| line.contains("WRONGTYPE")).collect::<Vec<_>>();
    assert_eq!(errors.len(), 1, "logged once: {errors:#?}");
    assert!(errors[0].contains(&broken), "names the key: {}", errors[0]);
    server.ask(&["DEL", &broken]);
    only.ready().await;
    summaries.push(django.send(3, &GROUPS, 5).await);
    for oracle in clients.finish(expected_of_all(&summaries)).await {
        assert_eq!(oracle.gaps, 0);
    }
}

/// Exactly the rights that the documentation names.
fn documented_rights() -> Vec<&'static str> {
    let documentation = include_str!("../docs/redis.md");
    let line = documentation.lines().find(|line| line.starts_with("ACL SETUSER")).unwrap();
    line.split(' ').collect()
}

#[tokio::test]
async fn the_documented_rights_suffice_and_a_missing_one_is_named() {
    let server = RedisServer::start();
    for right in ["zrem", "zrange", "zadd", "pubsub|numsub", "rpush"] {
        assert_eq!(server.ask(&documented_rights()), "+OK\r\n");
        let revoked = format!("-{right}");
        assert_eq!(server.ask(&["ACL", "SETUSER", "groupcast", &revoked]), "+OK\r\n");
        let django = Django::core(&server);
        let configuration = django.gateway().replace("://", "://groupcast:secret@");
        let only = Instance::start(&configuration).await;
        let command = right.split('|').next().unwrap();
        eventually("the log to name the command", async || {
            let log = only.log().to_lowercase();
            log.lines().any(|line| line.contains(r#""level":"error""#) && line.contains(command))
        })
        .await;
        assert_eq!(only.strict().await, 503, "{right}");
        server.ask(&documented_rights());
        only.ready().await;
        server.ask(&["ACL", "LOG", "RESET"]);
        let clients = clients(&[*only]).await;
        let summary = django.send(0, &GROUPS, 5).await;
        for oracle in clients.finish(expected_of_all(&[summary])).await {
            assert_eq!((oracle.events, oracle.gaps), (5, 0));
        }
        assert_eq!(server.ask(&["ACL", "LOG"]), "*0\r\n", "nothing forbidden was tried");
        server.ask(&["FLUSHDB"]);
    }
}

#[tokio::test]
async fn refuses_to_start_with_another_number_of_mailboxes() {
    let server = RedisServer::start();
    let django = Django::core(&server).with(json!({}), "boxes = 8");
    let first = Instance::start(&django.gateway()).await;
    first.ready().await;
    let other = Django::core(&server).with(json!({}), "boxes = 16");
    let error = refused(&other.gateway()).await;
    for part in ["channels.boxes", "16", "8", "groupcast:bridge"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(first.strict().await, 200);
}
