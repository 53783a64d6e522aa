//! Limits of connections and frames: what exceeds them is closed with a window to reconnect.

use serde_json::json;

use crate::support::{Gateway, Received, eventually, token};

/// Whether a v1 client of `sub` is admitted now.
async fn is_welcome(gateway: &Gateway, sub: &str) -> bool {
    let mut socket = gateway.v1_silent("/ws").await;
    socket.hello(&token(sub)).await;
    matches!(socket.next().await, Received::Text(text) if text.contains("welcome"))
}

#[tokio::test]
async fn bounds_the_connections_of_one_user() {
    let gateway = Gateway::with("[connections]\nper_user = 2\n").await;
    let mut witness = gateway.v1("testigo").await;
    let (_plain, first) = (gateway.plain_member("7").await, gateway.v1("7").await);
    for _ in 0..3 {
        let (code, reason) = gateway.plain("/ws", "7").await.closed().await;
        assert_eq!((code, &reason["retry_ms"]), (4529, &json!(5000)));
        assert_eq!(reason["reason"], "too many connections of this user");
        gateway.still_serves(&mut witness).await;
    }
    assert_eq!(gateway.metric(r#"groupcast_refusals_total{reason="user"}"#).await, 3.0);
    first.close(1000).await;
    eventually("room for another connection", async || is_welcome(&gateway, "7").await).await;
}

#[tokio::test]
async fn a_full_gateway_refuses_new_clients_and_serves_the_others() {
    let gateway = Gateway::with("[connections]\nmax = 2\n").await;
    let (mut witness, other) = (gateway.v1("testigo").await, gateway.v1("7").await);
    let (code, reason) = gateway.plain("/ws", "8").await.closed().await;
    assert_eq!((code, reason), (4529, json!({"reason": "the gateway is full", "retry_ms": 5000})));
    assert_eq!(gateway.metric(r#"groupcast_refusals_total{reason="full"}"#).await, 1.0);
    gateway.still_serves(&mut witness).await;
    other.close(1000).await;
    eventually("room for another connection", async || is_welcome(&gateway, "8").await).await;
}

#[tokio::test]
async fn admits_no_more_of_simultaneous_hellos_than_there_is_room_for() {
    let gateway = Gateway::with("[connections]\nmax = 3\n").await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(gateway.v1_silent("/ws").await);
    }
    for (sub, socket) in silent.iter_mut().enumerate() {
        socket.hello(&token(&sub.to_string())).await;
    }
    let mut admitted = 0;
    for socket in &mut silent {
        match socket.next().await {
            Received::Text(text) if text.contains("welcome") => admitted += 1,
            Received::Close(4529, _) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(admitted, 3);
}

#[tokio::test]
async fn closes_a_connection_that_sends_more_frames_than_the_burst() {
    let gateway = Gateway::with("[limits]\nframes_per_second = 1\nframe_burst = 10\n").await;
    let mut witness = gateway.v1("testigo").await;
    let mut socket = gateway.v1("7").await;
    for id in 0..20 {
        socket.send(json!({"type": "leave", "id": id, "groups": ["sala_1"]})).await;
    }
    let mut answered = 0;
    let (code, reason) = loop {
        match socket.next().await {
            Received::Text(_) => answered += 1,
            Received::Close(code, reason) => break (code, reason),
            other => panic!("{other:?}"),
        }
    };
    assert!(answered <= 11, "{answered}");
    assert_eq!(code, 4529);
    assert_eq!(reason, r#"{"reason":"too many frames","retry_ms":5000}"#);
    gateway.still_serves(&mut witness).await;
}
