//! Joins and leaves by clients: each group of a frame succeeds or fails on its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Gateway, Opcode, Raw, soon, token};

fn names(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|n| format!("sala_{n}")).collect()
}

/// How many groups of an answer are joined, and the one error code of all others.
fn held(answer: &Value) -> (usize, Option<&str>) {
    let groups = answer["groups"].as_array().unwrap();
    let mut codes = groups.iter().filter_map(|group| group["error"]["code"].as_str());
    let first = codes.next();
    assert!(codes.all(|code| Some(code) == first), "{answer}");
    (groups.iter().filter(|group| group["error"].is_null()).count(), first)
}

#[tokio::test]
async fn join_outcomes_come_in_the_order_asked() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1("7").await;
    let asked = ["no va", "sala_1", "usuario_8", "pedido.2", "sala_1", ""];
    for (kind, answered) in [("join", "joined"), ("leave", "left")] {
        let answer = socket.ask(json!({"type": kind, "groups": asked})).await;
        assert_eq!(answer["type"], answered);
        let groups = answer["groups"].as_array().unwrap();
        let order: Vec<_> = groups.iter().map(|group| group["group"].as_str().unwrap()).collect();
        assert_eq!(order, asked, "{kind}");
    }
}

#[tokio::test]
async fn refuses_groups_over_the_limit_and_joins_the_rest() {
    let gateway = Gateway::with("[limits]\ngroups_per_connection = 4\n").await;
    let mut socket = gateway.v1("7").await;
    let answer = socket.ask(json!({"type": "join", "groups": names(0, 5)})).await;
    assert_eq!(
        held(&answer),
        (3, Some("too_many_groups")),
        "the group joined by the server counts"
    );
    let refused = &answer["groups"][3]["error"];
    assert!(refused["message"].as_str().unwrap().contains('4'), "{refused}");
    assert_eq!(refused["retry"], false);
    // A group already joined needs no place; one that is left frees a place.
    let again = socket.ask(json!({"type": "join", "groups": ["sala_0"]})).await;
    assert_eq!(held(&again), (1, None));
    socket.ask(json!({"type": "leave", "groups": ["sala_0"]})).await;
    let other = socket.ask(json!({"type": "join", "groups": ["sala_4"]})).await;
    assert_eq!(held(&other), (1, None));
}

#[tokio::test]
async fn joins_a_group_once_that_is_named_twice_in_a_frame() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1("7").await;
    let answer = socket.ask(json!({"type": "join", "groups": ["sala_1", "sala_1"]})).await;
    assert_eq!(answer["groups"], json!([{"group": "sala_1"}, {"group": "sala_1"}]));
    gateway.publish("sala_1", json!({"type": "uno"})).await;
    gateway.publish("sala_1", json!({"type": "dos"})).await;
    assert_eq!(socket.event().await, json!({"type": "uno"}));
    assert_eq!(socket.event().await, json!({"type": "dos"}), "and delivered once");
    socket.ask(json!({"type": "leave", "groups": ["sala_1"]})).await;
    gateway.members("sala_1", 0).await;
}

#[tokio::test]
async fn a_client_can_leave_a_group_that_the_server_joined() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1("7").await;
    let left = socket.ask(json!({"type": "leave", "groups": ["usuario_7"]})).await;
    assert_eq!(left, json!({"type": "left", "groups": [{"group": "usuario_7"}]}));
    gateway.members("usuario_7", 0).await;
    // Only its route grants it, so the client cannot join it again.
    let refused = socket.ask(json!({"type": "join", "groups": ["usuario_7"]})).await;
    assert_eq!(held(&refused), (0, Some("forbidden")));
}

#[tokio::test]
async fn a_join_sent_before_a_leave_takes_effect_before_it() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1("7").await;
    for round in 0..20 {
        for (n, kind) in ["join", "leave", "join", "leave"].into_iter().enumerate() {
            socket.send(json!({"type": kind, "id": 4 * round + n, "groups": ["sala_1"]})).await;
        }
    }
    for _ in 0..80 {
        socket.frame().await;
    }
    gateway.members("sala_1", 0).await;
    socket.join("sala_1").await;
    gateway.members("sala_1", 1).await;
}

#[tokio::test]
async fn answers_a_join_of_too_many_names_with_one_error() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1("7").await;
    let answer = socket.ask(json!({"type": "join", "groups": vec!["a"; 1025]})).await;
    assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("bad_request")));
    assert!(answer["message"].as_str().unwrap().contains("1024"), "{answer}");
    let answer = socket.ask(json!({"type": "join", "groups": names(0, 1024)})).await;
    assert_eq!(held(&answer), (127, Some("too_many_groups")));
}

#[tokio::test]
async fn answers_ten_thousand_joins_of_one_client() {
    // Room for a megabyte of refusals, which are sent before the client reads.
    let gateway = Gateway::with("[limits]\noutbox_bytes = \"4MiB\"\n").await;
    let mut witness = gateway.v1("testigo").await;
    let mut socket = gateway.v1("7").await;
    for frame in 0..10 {
        let groups = names(frame * 1000, 1000);
        socket.send(json!({"type": "join", "id": frame, "groups": groups})).await;
    }
    gateway.still_serves(&mut witness).await;
    // The first join waits for the layer; joins over the limit are answered immediately.
    let mut outcomes = BTreeMap::new();
    for _ in 0..10 {
        let answer = socket.frame().await;
        let (joined, code) = held(&answer);
        assert_eq!(code, Some("too_many_groups"));
        outcomes.insert(answer["id"].as_u64(), joined);
    }
    let expected = (0..10).map(|id| (Some(id), if id == 0 { 127 } else { 0 }));
    assert_eq!(outcomes, expected.collect(), "the group joined by the server is the 128th");
    gateway.still_serves(&mut witness).await;
}

#[tokio::test]
async fn answers_ten_joins_of_each_of_a_thousand_clients() {
    const CLIENTS: usize = 1000;
    let gateway = Gateway::start().await;
    let mut witness = gateway.v1("testigo").await;
    let mut clients = Vec::with_capacity(CLIENTS);
    // All is sent before anything is read, so that handshake, hello and joins overlap.
    for client in 0..CLIENTS {
        let mut raw = Raw::connect(gateway.public).await;
        raw.upgrade("/ws", &["Sec-WebSocket-Protocol: groupcast.v1.json"]).await;
        let hello = json!({"type": "hello", "token": token(&client.to_string())}).to_string();
        raw.frame(Opcode::Text, hello.as_bytes()).await;
        for join in 0..10 {
            let groups = [format!("sala_{}", client * 10 + join)];
            let frame = json!({"type": "join", "id": join, "groups": groups}).to_string();
            raw.frame(Opcode::Text, frame.as_bytes()).await;
        }
        clients.push(raw);
    }
    gateway.still_serves(&mut witness).await;
    for (client, raw) in clients.iter_mut().enumerate() {
        assert!(raw.text().await.contains(&format!("usuario_{client}")));
        for join in 0..10 {
            let group = client * 10 + join;
            let expected =
                format!(r#"{{"type":"joined","id":{join},"groups":[{{"group":"sala_{group}"}}]}}"#);
            assert_eq!(raw.text().await, expected);
        }
    }
    soon("the gauge", gateway.metric_reaches("groupcast_groups", 11_000.0)).await;
    gateway.still_serves(&mut witness).await;
}
