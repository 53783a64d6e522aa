//! Clients that join and leave ever new names cost nothing once they have left.
//!
//! `CHURN_SECONDS=3600 cargo test --test main name_churn:: -- --nocapture` runs the long form: each
//! minute it prints the memory of the gateway and of Redis, which stay level from the third on.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Gateway, Instance, RedisServer, eventually};

/// Names in one frame.
const NAMES: usize = 50;

/// Groups with a history of a second.
fn configuration(server: &RedisServer) -> String {
    format!(
        "[limits]\nframes_per_second = 200\n\
         [layer]\nkind = \"redis\"\nurl = \"redis://{}\"\n\
         [[layer.history]]\npattern = \"pedido.*\"\nttl = \"1s\"\n\
         [channels]\nreceive = [\"core\"]\n",
        server.address()
    )
}

/// Keys of the names that are joined here.
fn keys(server: &RedisServer) -> u64 {
    let of = |pattern| {
        let answer = server.ask(&["KEYS", pattern]);
        answer[1..].split("\r\n").next().unwrap().parse::<u64>().unwrap()
    };
    of("*pedido.*") + of("*sala_*")
}

fn seconds() -> Option<u64> {
    std::env::var("CHURN_SECONDS").ok()?.parse().ok()
}

/// Bytes in use.
fn memory_of_redis(server: &RedisServer) -> u64 {
    let info = server.ask(&["INFO", "memory"]);
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn names_that_a_client_chose_are_forgotten() {
    let server = RedisServer::start();
    let variables = [("GROUPCAST_HUB_LINGER", "100ms")];
    let instance = Instance::start_with(&configuration(&server), &variables).await;
    instance.ready().await;
    let span = Duration::from_secs(seconds().unwrap_or(0));
    // Each user has room for 100 new names a second.
    let mut clients = Vec::new();
    for user in 0..if span.is_zero() { 1 } else { 40 } {
        clients.push(instance.v1(&user.to_string()).await);
    }
    let began = Instant::now();
    let groups_before = instance.metric("groupcast_groups").await;
    let (mut round, mut next_report) = (0_u64, Duration::from_secs(60));
    while round < 40 || began.elapsed() < span {
        let of = |kind| {
            let names = (0..NAMES).map(|n| format!("{kind}{round}.{n}"));
            names.collect::<Vec<_>>()
        };
        let names = [of("pedido."), of("sala_")].concat();
        let number = round as usize % clients.len();
        let client = &mut clients[number];
        let answer = client.ask(json!({"type": "join", "groups": names})).await;
        let refused =
            answer["groups"].as_array().unwrap().iter().find(|it| it["error"] != json!(null));
        assert_eq!(refused, None);
        client.ask(json!({"type": "leave", "groups": names})).await;
        round += 1;
        if began.elapsed() >= next_report {
            next_report += Duration::from_secs(60);
            let (redis, resident) = (memory_of_redis(&server), instance.resident_bytes());
            let (keys, names) = (keys(&server), round * 2 * NAMES as u64);
            println!("{names} names: {keys} keys, redis {redis} B, gateway {resident} B");
        }
    }
    eventually("the keys to be gone", async || keys(&server) == 0).await;
    assert_eq!(instance.metric("groupcast_groups").await, groups_before);
}

/// Without Redis a history is a ring in the gateway's memory.
#[tokio::test]
async fn names_without_publications_have_no_history_in_memory() {
    let history = "[[layer.history]]\npattern = \"*\"\n";
    let instance = Gateway::with(history).await;
    let mut client = instance.v1("7").await;
    let answer = client.ask(json!({"type": "join", "groups": ["pedido.1"]})).await;
    let joined = &answer["groups"][0];
    assert_eq!(joined["offset"], json!(0));
    client.ask(json!({"type": "leave", "groups": ["pedido.1"]})).await;
    let since = json!({"epoch": joined["epoch"], "offset": 0});
    instance.publish("pedido.1", json!({"type": "a"})).await;
    let groups = json!([{"group": "pedido.1", "since": since}]);
    let answer = client.ask(json!({"type": "join", "groups": groups})).await;
    assert_eq!(answer["groups"][0]["recovered"], json!(true), "{answer}");
    assert_eq!(answer["groups"][0]["epoch"], since["epoch"], "as the client knows it");
    assert_eq!(client.frame().await["offset"], json!(1));
}

#[tokio::test]
async fn the_clients_of_a_user_join_a_bounded_number_of_new_names() {
    let gateway = Gateway::with("[limits]\nframes_per_second = 1000\nframe_burst = 1000\n").await;
    let mut others = gateway.v1("8").await;
    others.join("sala_known").await;
    let mut clients = [gateway.v1("7").await, gateway.v1("7").await];
    let (mut joined, mut refusal) = (0, json!(null));
    for round in 0..80 {
        let client = &mut clients[round % 2];
        let names: Vec<_> = (0..2 * NAMES).map(|n| format!("sala_{round}.{n}")).collect();
        let answer = client.ask(json!({"type": "join", "groups": names})).await;
        let groups = answer["groups"].as_array().unwrap();
        joined += groups.iter().filter(|it| it["error"].is_null()).count();
        if let Some(refused) = groups.iter().find(|it| !it["error"].is_null()) {
            refusal = refused["error"].clone();
            break;
        }
        client.ask(json!({"type": "leave", "groups": names})).await;
    }
    assert_eq!((&refusal["code"], &refusal["retry"]), (&json!("limited"), &json!(true)));
    // What a minute brings back while this runs comes on top.
    assert!((6000..7500).contains(&joined), "{joined}");
    clients[0].join("sala_known").await;
    others.join("sala_new").await;
}
