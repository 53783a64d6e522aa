//! The ingress stream, which any program may append to: entries are published once, in order.

use serde_json::json;

use crate::support::{
    Django, Expected, Gateway, Instance, RedisServer, VirtualClients, eventually, token,
};

const STREAM: &str = "groupcast:ingress";
const GROUPS: [&str; 4] = ["sala_0", "sala_1", "pedido.0", "pedido.1"];

/// Appends `XADD groupcast:ingress * <fields>`.
fn add(server: &RedisServer, fields: &[&str]) {
    let answer = server.ask(&[&["XADD", STREAM, "*"], fields].concat());
    assert!(answer.starts_with('$'), "{answer}");
}

fn add_step(server: &RedisServer, group: &str, n: u64) {
    let event = json!({"type": "paso", "s": 0, "n": n}).to_string();
    add(server, &["group", group, "event", &event]);
}

fn all_to(n: u64) -> Expected {
    GROUPS.iter().map(|group| ((*group).to_owned(), [(0, n)].into())).collect()
}

async fn is_empty(server: &RedisServer) {
    eventually("the stream to be empty", async || server.ask(&["XLEN", STREAM]) == ":0\r\n").await;
}

#[tokio::test]
async fn two_instances_publish_each_stream_entry_once_and_in_order() {
    let server = RedisServer::start();
    let configuration = Django::core(&server).gateway();
    let gateways = [Gateway::with(&configuration).await, Gateway::with(&configuration).await];
    let mut clients =
        VirtualClients::new(gateways.iter().map(|gateway| gateway.public).collect(), 1);
    for group in GROUPS {
        (0..4).for_each(|_| clients.add(&[group]));
    }
    clients.wait_until_joined().await;
    for n in 1..=300 {
        GROUPS.iter().for_each(|group| add_step(&server, group, n));
        tokio::task::yield_now().await;
    }
    for oracle in clients.finish(all_to(300)).await {
        assert_eq!((oracle.events, oracle.gaps), (300, 0));
    }
    is_empty(&server).await;
}

#[tokio::test]
async fn no_stream_entry_is_lost_or_repeated_while_instances_are_killed() {
    let server = RedisServer::start();
    let configuration = Django::core(&server).gateway();
    let mut instances =
        [Instance::start(&configuration).await, Instance::start(&configuration).await];
    for instance in &instances {
        instance.ready().await;
    }
    let mut clients =
        VirtualClients::new(instances.iter().map(|instance| instance.public).collect(), 1);
    for group in GROUPS {
        (0..4).for_each(|_| clients.add(&[group]));
    }
    clients.wait_until_joined().await;
    let mut n = 0;
    let mut send = |count| {
        for _ in 0..count {
            n += 1;
            GROUPS.iter().for_each(|group| add_step(&server, group, n));
        }
    };
    for round in 0..4 {
        send(50);
        instances[round % 2].kill();
        send(50);
        instances[round % 2].start_again().await;
        clients.set_address(round % 2, instances[round % 2].public);
        instances[round % 2].ready().await;
    }
    instances.iter_mut().for_each(Instance::kill);
    send(50);
    for (which, instance) in instances.iter_mut().enumerate() {
        instance.start_again().await;
        clients.set_address(which, instance.public);
        instance.ready().await;
    }
    is_empty(&server).await;
    send(1);
    for oracle in clients.finish(all_to(n)).await {
        for group in ["pedido.0", "pedido.1"] {
            assert_eq!(oracle.missed(group), 0, "its history is long enough");
        }
    }
}

#[tokio::test]
async fn a_stream_entry_names_its_target_and_its_event() {
    let server = RedisServer::start();
    let gateway = Gateway::with(&Django::core(&server).gateway()).await;
    gateway.ready().await;
    let mut ana = gateway.v1_silent("/ws").await;
    ana.hello(&token("ana")).await;
    let welcome = ana.welcome().await;
    let connection = welcome["connection"].as_str().unwrap();
    let event = r#"{"type":"aviso","n":1.50}"#;
    for (field, value) in
        [("group", "usuario_ana"), ("user", "ana"), ("connection", connection), ("all", "")]
    {
        add(&server, &[field, value, "event", event]);
        let text = ana.text().await;
        assert!(text.ends_with(&format!(r#""data":{event}}}"#)), "verbatim, to {field}: {text}");
    }
}

#[tokio::test]
async fn counts_removes_and_reports_malformed_stream_entries() {
    let server = RedisServer::start();
    let gateway = Gateway::with(&Django::core(&server).gateway()).await;
    gateway.ready().await;
    let mut ana = gateway.v1("ana").await;
    let event = r#"{"type":"aviso"}"#;
    let wrong: [&[&str]; 8] = [
        &["event", event],
        &["group", "usuario_ana"],
        &["group", "con espacio", "event", event],
        &["group", "usuario_ana", "event", "{"],
        &["group", "usuario_ana", "event", "[1]"],
        &["group", "usuario_ana", "event", r#"{"sin":"tipo"}"#],
        &["group", "usuario_ana", "user", "ana", "event", event],
        &["group", "usuario_ana", "event", event, "otra", "cosa"],
    ];
    for fields in wrong {
        add(&server, fields);
    }
    add(&server, &["group", "usuario_ana", "event", r#"{"type":"bien"}"#]);
    // Undecodable entries that name her group, and those that name no group, may be hers.
    let mut gaps = 0;
    let last = loop {
        let frame = ana.frame().await;
        if frame["type"] != "gap" {
            break frame;
        }
        assert_eq!((&frame["group"], &frame["possible"]), (&json!("usuario_ana"), &json!(true)));
        gaps += 1;
    };
    assert_eq!(last["data"], json!({"type": "bien"}));
    assert!((1..=wrong.len()).contains(&gaps), "{gaps}");
    is_empty(&server).await;
    let counted = gateway.metric("groupcast_source_unreadable_total").await;
    assert_eq!(counted, wrong.len() as f64);
    let sent = gateway.metric(r#"groupcast_source_entries_total{fate="sent"}"#).await;
    assert_eq!(sent, 1.0);
}
