//! Clients that send nothing, before the hello or between pings.

use serde_json::json;

use crate::support::{Gateway, Opcode, Raw, Received, soon, token};

#[tokio::test]
async fn closes_a_client_without_a_hello_with_a_code_that_lets_it_reconnect() {
    let gateway = Gateway::with("[connections]\nhello_timeout = \"300ms\"\n").await;
    let mut witness = gateway.v1("testigo").await;
    let mut silent = gateway.v1_silent("/ws").await;
    // Neither a part of a hello nor a ping counts as the hello.
    let mut dripping = Raw::connect(gateway.public).await;
    dripping.upgrade("/ws", &["Sec-WebSocket-Protocol: groupcast.v1.json"]).await;
    dripping.write(&[0x81, 0xfe, 0x10]).await;
    gateway.still_serves(&mut witness).await;
    let (code, reason) = silent.closed().await;
    assert_eq!((code, reason), (4504, json!({"reason": "no hello in time", "retry_ms": 5000})));
    assert_eq!(dripping.close_code().await, 4504);
    assert_eq!(gateway.metric(r#"groupcast_refusals_total{reason="timeout"}"#).await, 2.0);
    gateway.still_serves(&mut witness).await;
}

#[tokio::test]
async fn keeps_clients_that_answer_pings_and_closes_the_others() {
    let gateway = Gateway::with("[connections]\nping = \"1s\"\nping_grace = \"2s\"\n").await;
    let bearer = format!("Authorization: Bearer {}", token("7"));
    let (mut dead_v1, mut dead_plain) =
        (Raw::connect(gateway.public).await, Raw::connect(gateway.public).await);
    dead_v1.upgrade("/ws", &[&bearer, "Sec-WebSocket-Protocol: groupcast.v1.json"]).await;
    dead_v1.frame(Opcode::Text, br#"{"type":"hello"}"#).await;
    dead_plain.upgrade("/ws", &[&bearer]).await;
    let (mut v1, mut plain) = (gateway.v1("8").await, gateway.plain("/ws", "8").await);

    // A client that does not answer is closed before the fifth ping.
    let v1_answers = async {
        for _ in 0..5 {
            assert_eq!(v1.receive().await, Received::Text(r#"{"type":"ping"}"#.to_owned()));
            v1.send(json!({"type": "pong"})).await;
        }
    };
    let plain_answers = async {
        for _ in 0..5 {
            // tungstenite answers pings on its own.
            assert_eq!(plain.receive().await, Received::Ping);
        }
    };
    let dead_closed = async {
        assert!(dead_v1.text().await.contains("welcome"));
        closed_after_pings(&mut dead_v1, Opcode::Text).await;
    };
    let dead_plain_closed = closed_after_pings(&mut dead_plain, Opcode::Ping);
    soon("pings and ends", async {
        tokio::join!(v1_answers, plain_answers, dead_closed, dead_plain_closed)
    })
    .await;
    gateway.publish("usuario_8", json!({"type": "x"})).await;
    assert_eq!(v1.event().await, json!({"type": "x"}));
    gateway.metric_reaches(r#"groupcast_closes_total{code="4504"}"#, 2.0).await;
}

/// Asserts that a client that answers no ping is pinged and then closed.
async fn closed_after_pings(raw: &mut Raw, ping: Opcode) {
    let mut pings = 0;
    loop {
        let (opcode, payload) = raw.next().await.expect("a close frame before the end");
        if opcode == Opcode::Close {
            assert_eq!(u16::from_be_bytes([payload[0], payload[1]]), 4504);
            let reason = str::from_utf8(&payload[2..]).unwrap();
            assert_eq!(reason, r#"{"reason":"no answer to pings","retry_ms":5000}"#);
            break;
        }
        assert_eq!(opcode, ping);
        pings += 1;
    }
    assert!(pings > 0, "it was pinged before it was closed");
}

#[tokio::test]
async fn any_frame_counts_as_a_sign_of_life() {
    let gateway = Gateway::with("[connections]\nping = \"1s\"\nping_grace = \"2s\"\n").await;
    let mut socket = gateway.v1("7").await;
    // It never sends a pong, but some frame after each ping.
    for n in 0..4 {
        let ping = soon("a ping", async {
            while socket.receive().await != Received::Text(r#"{"type":"ping"}"#.to_owned()) {}
        });
        ping.await;
        socket.send(json!({"type": "leave", "id": n, "groups": ["sala_1"]})).await;
    }
    let closes = gateway.metric(r#"groupcast_closes_total{code="4504"}"#).await;
    assert_eq!(closes, 0.0);
}
