//! Entries in Django's mailboxes survive restarts and malformed entries, up to the capacity.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    Django, Gateway, Instance, RedisServer, Socket, VirtualClients, eventually, expected_of_all,
    mailbox,
};

const ROOMS: [&str; 4] = ["sala_0", "sala_1", "sala_2", "sala_3"];
const ORDERS: [&str; 4] = ["pedido.0", "pedido.1", "pedido.2", "pedido.3"];

/// A site whose mailboxes have a large capacity and a short expiry.
fn large_mailboxes(server: &RedisServer) -> Django {
    let config = json!({"capacity": 1500, "expiry": 10});
    Django::core(server).with(config, "capacity = 1500\nexpiry = \"10s\"")
}

#[tokio::test]
async fn delivers_after_a_start_what_was_sent_while_no_gateway_ran() {
    let server = RedisServer::start();
    let django = large_mailboxes(&server);
    let mut only = Instance::start(&django.gateway()).await;
    only.ready().await;
    let mut clients = VirtualClients::new(vec![only.public], 1);
    for (room, order) in ROOMS.iter().zip(&ORDERS) {
        clients.add(&[room]);
        // The client that reconnects second gets it from the history.
        clients.add(&[order]);
        clients.add(&[order]);
    }
    clients.wait_until_joined().await;
    let groups = [ROOMS, ORDERS].concat();
    let mut summaries = vec![django.send(0, &groups, 10).await];
    for sender in [1, 2] {
        // What a gateway has taken and not yet delivered ends with it; the next join reports it.
        clients.wait_until_received(expected_of_all(&summaries)).await;
        if sender == 1 {
            only.terminate().await;
        } else {
            only.kill();
        }
        summaries.push(django.send(sender, &groups, 10).await);
        only.start_again().await;
        clients.set_address(0, only.public);
        only.ready().await;
    }
    // Live again.
    summaries.push(django.send(3, &groups, 10).await);
    assert!(summaries.iter().all(|summary| summary["over_capacity"] == 0), "{summaries:?}");
    for oracle in clients.finish(expected_of_all(&summaries)).await {
        assert_eq!(oracle.events, 40);
        assert_eq!(groups.iter().map(|group| oracle.missed(group)).sum::<u64>(), 0);
    }
}

/// The next frame of this group. Every client is also in a group of its own.
async fn of_group(socket: &mut Socket, group: &str) -> Value {
    loop {
        let frame = socket.frame().await;
        if frame["group"] == group {
            return frame;
        }
    }
}

#[tokio::test]
async fn a_full_mailbox_is_reported_to_its_groups_as_a_possible_gap() {
    let server = RedisServer::start();
    let config = json!({"capacity": 20});
    let one_box = Django::core(&server).with(config, "capacity = 20\nboxes = 1");
    let only = Instance::start(&one_box.gateway()).await;
    only.ready().await;
    let mut sockets = [only.v1("ana").await, only.v1("bea").await];
    let groups = ["sala_0", "pedido.0"];
    for (socket, group) in sockets.iter_mut().zip(groups) {
        socket.ask(json!({"type": "join", "groups": [group]})).await;
    }
    only.signal(Signal::SIGSTOP);
    eventually("the instance to stop", async || only.is_stopped()).await;
    let summary = one_box.send(0, &groups, 30).await;
    assert_eq!(summary["over_capacity"], 40, "the library only logs it");
    only.signal(Signal::SIGCONT);
    for (socket, group) in sockets.iter_mut().zip(groups) {
        for n in 1..=10 {
            assert_eq!(of_group(socket, group).await["data"]["n"], n);
        }
        let frame = of_group(socket, group).await;
        assert_eq!((&frame["type"], &frame["possible"]), (&json!("gap"), &json!(true)), "{frame}");
    }
    only.metric_reaches("groupcast_source_full_total", 1.0).await;
    assert!(only.log().contains("mailbox full"), "{}", only.log());
    one_box.send(1, &groups, 1).await;
    for (socket, group) in sockets.iter_mut().zip(groups) {
        let mut frame = of_group(socket, group).await;
        while frame["type"] == "gap" {
            // With a history, a new epoch begins, so that clients that are away learn of it, too.
            assert!(frame["epoch"].is_string(), "{frame}");
            frame = of_group(socket, group).await;
        }
        assert_eq!(frame["data"], json!({"type": "paso", "s": 1, "n": 1}), "{frame}");
    }
}

/// The end of a map in MessagePack: `__asgi_channel__` with one name.
fn to_channel(name: &str) -> Vec<u8> {
    let mut bytes = vec![0xb0];
    bytes.extend(b"__asgi_channel__");
    bytes.extend([0x91, 0xd9, name.len() as u8]);
    bytes.extend(name.bytes());
    bytes
}

#[tokio::test]
async fn reports_malformed_entries_and_delivers_those_after_them() {
    let server = RedisServer::start();
    let django = Django::core(&server);
    let gateway = Gateway::with(&django.gateway()).await;
    gateway.ready().await;
    let mut clients = VirtualClients::new(vec![gateway.public], 1);
    clients.add(&["sala_0"]);
    clients.wait_until_joined().await;
    let key = mailbox(&server, "sala_0");
    let channel = to_channel(&format!("{}sala_0", &key["asgi".len()..]));
    let with = |rest: &[u8]| [&[7; 12], rest, &channel].concat();
    let rubbish: [(&str, Vec<u8>); 8] = [
        ("shorter than the random prefix", b"basura".to_vec()),
        ("no MessagePack", [&[7; 12][..], b"\xc1\xff\xffnada"].concat()),
        ("cut off", with(b"\x83\xa4type\xa1x")),
        ("an integer as key", with(b"\x82\x01\x02")),
        ("no type", with(b"\x82\xa1x\x01")),
        ("a type that is no string", with(b"\x82\xa4type\x05")),
        ("for no channel", [&[7; 12][..], b"\x81\xa4type\xa1x"].concat()),
        ("an array", [&[7; 12][..], b"\x91\xa4type"].concat()),
    ];
    let mut summaries = Vec::new();
    for (sender, (what, entry)) in (0..).zip(&rubbish) {
        // The current time: senders remove what is older than their expiry.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
        let words = [&b"ZADD"[..], key.as_bytes(), now.as_bytes(), entry];
        assert_eq!(server.ask(&words), ":1\r\n", "{what}");
        summaries.push(django.send(sender, &["sala_0"], 3).await);
        let what = format!("{what} to be counted");
        eventually(&what, async || {
            gateway.metric("groupcast_source_unreadable_total").await == sender as f64 + 1.0
        })
        .await;
    }
    for oracle in clients.finish(expected_of_all(&summaries)).await {
        // Four name the group. The other four name none: within ten seconds they are one gap of all
        // groups of the mailbox. Gaps between which nothing is delivered are one.
        assert_eq!(oracle.events, 24);
        assert!((1..=8).contains(&oracle.gaps), "{}", oracle.gaps);
    }
    assert_eq!(server.ask(&["EXISTS", &key]), ":0\r\n", "the mailbox is empty");
    assert_eq!(gateway.strict().await, 200);
}

#[tokio::test]
async fn a_group_without_connections_has_no_member_in_redis() {
    let server = RedisServer::start();
    let django = Django::core(&server);
    // Groups are left soon after their last member has left.
    let linger = [("GROUPCAST_HUB_LINGER", "100ms")];
    let only = Instance::start_with(&django.gateway(), &linger).await;
    only.ready().await;
    let mut ana = only.v1("ana").await;
    ana.join("sala_0").await;
    let members = || server.ask(&["ZCARD", "asgi:group:sala_0"]);
    assert_eq!(members(), ":1\r\n", "registered once the join is answered");
    let left = ana.ask(json!({"type": "leave", "groups": ["sala_0"]})).await;
    assert_eq!(left["type"], "left");
    eventually("the group to be unregistered", async || members() == ":0\r\n").await;
    ana.join("sala_0").await;
    django.send(0, &["sala_0"], 1).await;
    let event: Value = ana.event().await;
    assert_eq!(event["n"], 1);
}
