//! `groupcast.v1.json`: welcome, answers, and messages in any fragmentation.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{
    Gateway, Opcode, Placeholders, Raw, Received, Socket, assert_json_matches, client_frame, token,
    upgrade_request,
};

const OFFER: &str = "Sec-WebSocket-Protocol: groupcast.v1.json";

#[tokio::test]
async fn the_welcome_carries_all_that_a_client_must_know() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1_silent("/ws").await;
    assert_eq!(socket.protocol.as_deref(), Some("groupcast.v1.json"));
    socket.hello(&token("7")).await;
    let welcome = socket.welcome().await;
    let expected = json!({
        "type": "welcome", "connection": "<string>", "instance": "<string>", "ping_ms": 25_000,
        "max_bytes": 16_384, "frames_per_second": 50, "frame_burst": 200,
        "expires_in": "<number>", "retry_ms": 5_000,
        "groups": [{"group": "usuario_7"}],
    });
    assert_json_matches(&welcome, &expected, &mut Placeholders::new());
    let instance = welcome["instance"].as_str().unwrap();
    assert!(welcome["connection"].as_str().unwrap().starts_with(instance), "{welcome}");
    let expires_in = welcome["expires_in"].as_u64().unwrap();
    assert!((3590..=3605).contains(&expires_in), "an hour and the leeway: {expires_in}");
}

#[tokio::test]
async fn a_token_in_the_handshake_replaces_one_in_the_hello() {
    let gateway = Gateway::start().await;
    let bearer = format!("Bearer {}", token("7"));
    let headers = [("Sec-WebSocket-Protocol", "groupcast.v1.json"), ("Authorization", &*bearer)];
    let mut socket = Socket::open(gateway.public, "/ws", &headers).await;
    socket.send(json!({"type": "hello"})).await;
    assert_eq!(socket.welcome().await["groups"], json!([{"group": "usuario_7"}]));
    let mut socket = Socket::open(gateway.public, "/ws", &headers).await;
    socket.hello(&token("8")).await;
    let groups = &socket.welcome().await["groups"];
    assert_eq!(*groups, json!([{"group": "usuario_8"}]), "the hello's token comes first");
}

fn hello() -> String {
    json!({"type": "hello", "token": token("7")}).to_string()
}

const JOIN: &str = r#"{"type":"join","id":1,"groups":["sala_1"]}"#;
const JOINED: &str = r#"{"type":"joined","id":1,"groups":[{"group":"sala_1"}]}"#;

#[tokio::test]
async fn accepts_handshake_hello_and_more_in_one_segment() {
    let gateway = Gateway::start().await;
    let mut raw = Raw::connect(gateway.public).await;
    let mut all = upgrade_request("/ws", &[OFFER]).into_bytes();
    all.extend(client_frame(true, Opcode::Text, hello().as_bytes()));
    all.extend(client_frame(true, Opcode::Text, JOIN.as_bytes()));
    all.extend(client_frame(true, Opcode::Ping, b"eco"));
    // The last frame is cut, so that the shard also receives a partial frame.
    let leave = client_frame(true, Opcode::Text, JOIN.replace("join", "leave").as_bytes());
    let (begun, rest) = leave.split_at(leave.len() / 2);
    all.extend(begun);
    raw.write(&all).await;
    assert_eq!(raw.answer().await.status, 101);
    assert!(raw.text().await.contains("welcome"));
    // Only a pong may overtake the answer of the layer.
    let mut answers = [raw.next().await.unwrap(), raw.next().await.unwrap()];
    answers.sort_by_key(|(opcode, _)| *opcode as u8);
    assert_eq!(answers[0], (Opcode::Text, JOINED.as_bytes().to_vec()));
    assert_eq!(answers[1], (Opcode::Pong, b"eco".to_vec()));
    raw.write(rest).await;
    assert_eq!(raw.text().await, JOINED.replace("joined", "left"));
}

#[tokio::test]
async fn accepts_frames_that_arrive_byte_by_byte() {
    let gateway = Gateway::start().await;
    let mut raw = Raw::connect(gateway.public).await;
    let mut all = upgrade_request("/ws", &[OFFER]).into_bytes();
    all.extend(client_frame(true, Opcode::Text, hello().as_bytes()));
    all.extend(client_frame(true, Opcode::Text, JOIN.as_bytes()));
    for byte in all {
        raw.write(&[byte]).await;
    }
    assert_eq!(raw.answer().await.status, 101);
    assert!(raw.text().await.contains("welcome"));
    assert_eq!(raw.text().await, JOINED);
}

#[tokio::test]
async fn accepts_fragmented_messages_with_pings_in_between() {
    let gateway = Gateway::start().await;
    let mut raw = Raw::connect(gateway.public).await;
    raw.upgrade("/ws", &[OFFER]).await;
    for (message, id) in [(hello(), None), (JOIN.to_owned(), Some(()))] {
        let (first, rest) = message.as_bytes().split_at(5);
        let (second, third) = rest.split_at(7);
        raw.write(&client_frame(false, Opcode::Text, first)).await;
        raw.frame(Opcode::Ping, b"1").await;
        raw.write(&client_frame(false, Opcode::Continuation, second)).await;
        raw.write(&client_frame(false, Opcode::Continuation, b"")).await;
        raw.write(&client_frame(true, Opcode::Continuation, third)).await;
        assert_eq!(raw.next().await, Some((Opcode::Pong, b"1".to_vec())));
        let answer = raw.text().await;
        assert!(id.is_none() || answer == JOINED, "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_closes_gets_its_code_back() {
    let gateway = Gateway::start().await;
    for code in [1000, 1001, 3000, 4000] {
        let (v1, plain) = (gateway.v1("7").await, gateway.plain_member("8").await);
        assert_eq!(v1.close(code).await, Received::Close(code, String::new()));
        assert_eq!(plain.close(code).await, Received::Close(code, String::new()));
        gateway.members("usuario_8", 0).await;
    }
    let report = gateway.ask("GET /users/7", &[], "").await.json();
    assert_eq!(report["last_close"], 4000);
}

#[tokio::test]
async fn a_client_that_closes_before_its_hello_gets_its_code_back() {
    let gateway = Gateway::start().await;
    let socket = gateway.v1_silent("/ws").await;
    assert_eq!(socket.close(1000).await, Received::Close(1000, String::new()));
}

#[tokio::test]
async fn answers_a_close_without_a_code_with_one_without() {
    let gateway = Gateway::start().await;
    let mut raw = Raw::connect(gateway.public).await;
    raw.upgrade("/ws", &[&format!("Authorization: Bearer {}", token("7"))]).await;
    raw.frame(Opcode::Close, b"").await;
    assert_eq!(raw.next().await, Some((Opcode::Close, vec![])));
    assert_eq!(raw.next().await, None, "the gateway ends the connection");
}

/// Requests, valid and invalid, without their ids.
fn requests() -> impl Strategy<Value = Vec<Value>> {
    let group = prop_oneof![Just("sala_1"), Just("sala_2"), Just("usuario_7"), Just("no va")];
    let groups = prop::collection::vec(group.clone(), 0..4);
    let data = prop_oneof![
        Just(json!({"type": "x"})),
        Just(json!({"type": 1})),
        Just(json!([])),
        Just(json!({"type": "x", "texto": "ñandú"})),
    ];
    let key = prop::option::of("[ab]");
    let request = prop_oneof![
        groups.clone().prop_map(|groups| json!({"type": "join", "groups": groups})),
        groups.prop_map(|groups| json!({"type": "leave", "groups": groups})),
        (group, data, key, any::<bool>()).prop_map(|(group, data, key, echo)| {
            json!({"type": "send", "group": group, "data": data, "key": key, "echo": echo})
        }),
        prop_oneof![Just("marcar_leida"), Just("otra")]
            .prop_map(|name| json!({"type": "call", "name": name})),
        any::<bool>().prop_map(|good| {
            json!({"type": "auth", "token": if good { token("7") } else { "x".to_owned() }})
        }),
        Just(json!({"type": "baile"})),
    ];
    prop::collection::vec(request, 1..60)
}

#[test]
fn answers_each_id_exactly_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let gateway = runtime.block_on(Gateway::start());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(24));
    let outcome = runner.run(&requests(), |requests| {
        runtime.block_on(converse(&gateway, requests));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// Sends all requests before it reads.
async fn converse(gateway: &Gateway, requests: Vec<Value>) {
    let mut socket = gateway.v1("7").await;
    let mut unanswered: BTreeSet<u64> = (0..requests.len() as u64).collect();
    for (id, mut request) in requests.into_iter().enumerate() {
        request["id"] = id.into();
        socket.send(request).await;
    }
    while !unanswered.is_empty() {
        let frame = socket.frame().await;
        match (frame["id"].as_u64(), frame["type"].as_str().unwrap()) {
            (Some(id), _) => assert!(unanswered.remove(&id), "{id} was answered twice: {frame}"),
            (None, "event") => {}
            // A new token changes memberships.
            (None, "joined" | "left") => assert_eq!(frame["reason"], "grants", "{frame}"),
            (None, _) => panic!("unexpected frame {frame}"),
        }
    }
    let last = close_and_receive(&mut socket).await;
    assert_eq!(last, Received::Close(1000, String::new()), "no id is answered again");
}

/// Closes. Returns the next frame that is no event, or the answer to the close.
async fn close_and_receive(socket: &mut Socket) -> Received {
    socket.begin_close(1000).await;
    loop {
        match socket.next().await {
            Received::Text(text) if text.contains(r#""type":"event""#) => {}
            Received::Text(text) if text.contains(r#""reason":"grants""#) => {}
            other => return other,
        }
    }
}
