//! Frames that violate the protocol close the connection with the right code, and affect no other.

use serde_json::json;

use crate::support::{Gateway, Opcode, Raw, client_frame, token, upgrade_request};

const OFFER: &str = "Sec-WebSocket-Protocol: groupcast.v1.json";

/// Bytes that no client may send, and the close code for them.
fn violations() -> Vec<(&'static str, u16, Vec<u8>)> {
    let unfragmented = |opcode, payload: &[u8]| client_frame(true, opcode, payload);
    let text = |text: &str| unfragmented(Opcode::Text, text.as_bytes());
    let with_bits = |bits: u8| {
        let mut frame = text("{}");
        frame[0] |= bits;
        frame
    };
    let mut unmasked = vec![0x81, 2];
    unmasked.extend(b"{}");
    let mut inner = client_frame(false, Opcode::Text, b"{");
    inner.extend(text("}"));
    let mut fragments_over = client_frame(false, Opcode::Text, &[b' '; 10_000]);
    fragments_over.extend(client_frame(true, Opcode::Continuation, &[b' '; 10_000]));
    // A 64-bit length where 7 bits suffice.
    let mut long_form = vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
    long_form.extend(b"{}");
    let over = "x".repeat(16 * 1024 + 1);
    vec![
        ("binary", 4400, unfragmented(Opcode::Binary, b"{\"type\":\"pong\"}")),
        ("invalid UTF-8", 4400, unfragmented(Opcode::Text, b"{\"type\":\"\xff\xfe\"}")),
        ("invalid UTF-8, overlong", 4400, unfragmented(Opcode::Text, b"\xc0\xaf")),
        ("no mask", 4400, unmasked),
        ("reserved bit 1", 4400, with_bits(0x40)),
        ("reserved bit 3", 4400, with_bits(0x10)),
        ("reserved opcode 3", 4400, with_bits(0x02)),
        ("continuation of nothing", 4400, unfragmented(Opcode::Continuation, b"{}")),
        ("a message inside another", 4400, inner),
        ("a ping in fragments", 4400, client_frame(false, Opcode::Ping, b"")),
        ("a ping too long", 4400, unfragmented(Opcode::Ping, &[0; 126])),
        ("a close of one byte", 4400, unfragmented(Opcode::Close, &[3])),
        (
            "a close with a forbidden code",
            4400,
            unfragmented(Opcode::Close, &1005_u16.to_be_bytes()),
        ),
        ("a length not in its shortest form", 4400, long_form),
        ("a message too large", 4413, text(&over)),
        ("fragments too large together", 4413, fragments_over),
        (
            "only the header of a gigabyte",
            4413,
            vec![0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4],
        ),
        ("no JSON", 4400, text("hola")),
        ("no JSON, cut", 4400, text("{\"type\":\"pong\"")),
        ("no object", 4400, text("[]")),
        ("empty", 4400, text("")),
        ("no type", 4400, text("{\"id\":1}")),
        ("a type that is no string", 4400, text("{\"type\":1}")),
        ("a member twice", 4400, text("{\"type\":\"leave\",\"id\":1,\"id\":2,\"groups\":[\"a\"]}")),
        ("trailing text", 4400, text("{\"type\":\"pong\"} x")),
    ]
}

#[tokio::test]
async fn a_protocol_violation_closes_its_own_connection_with_its_code() {
    let gateway = Gateway::start().await;
    let mut witness = gateway.v1("testigo").await;
    for (what, code, bytes) in violations() {
        let mut raw = Raw::connect(gateway.public).await;
        raw.upgrade("/ws", &[OFFER]).await;
        let hello = json!({"type": "hello", "token": token("7")}).to_string();
        raw.frame(Opcode::Text, hello.as_bytes()).await;
        assert!(raw.text().await.contains("welcome"));
        raw.write(&bytes).await;
        assert_eq!(raw.close_code().await, code, "{what}");
        assert_eq!(raw.next().await, None, "{what}: the gateway ends the connection");
        gateway.still_serves(&mut witness).await;
    }
}

#[tokio::test]
async fn a_protocol_violation_before_the_hello_closes_with_the_same_code() {
    let gateway = Gateway::start().await;
    let mut witness = gateway.v1("testigo").await;
    for (what, code, bytes) in violations() {
        let mut raw = Raw::connect(gateway.public).await;
        let mut all = upgrade_request("/ws", &[OFFER]).into_bytes();
        all.extend(bytes);
        raw.write(&all).await;
        assert_eq!(raw.answer().await.status, 101, "{what}");
        assert_eq!(raw.close_code().await, code, "{what}");
        assert_eq!(raw.next().await, None, "{what}");
        gateway.still_serves(&mut witness).await;
    }
}

#[tokio::test]
async fn frames_after_a_protocol_violation_are_ignored() {
    let gateway = Gateway::start().await;
    let mut member = gateway.v1("8").await;
    member.join("sala_1").await;
    let mut raw = Raw::connect(gateway.public).await;
    raw.upgrade("/ws", &[OFFER]).await;
    let hello = json!({"type": "hello", "token": token("7")}).to_string();
    let send = br#"{"type":"send","id":1,"group":"sala_1","data":{"type":"x"}}"#;
    let mut all = client_frame(true, Opcode::Text, hello.as_bytes());
    all.extend(client_frame(true, Opcode::Binary, b""));
    all.extend(client_frame(true, Opcode::Text, send));
    raw.write(&all).await;
    // The close replaces all frames that wait, even the welcome.
    let code = loop {
        match raw.next().await {
            Some((Opcode::Text, text)) => assert!(text.starts_with(br#"{"type":"welcome""#)),
            Some((Opcode::Close, payload)) => break u16::from_be_bytes([payload[0], payload[1]]),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 4400);
    gateway.publish("sala_1", json!({"type": "y"})).await;
    assert_eq!(member.event().await, json!({"type": "y"}));
}

#[tokio::test]
async fn accepts_a_message_of_the_largest_allowed_size() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1("7").await;
    let frame = json!({"type": "baile", "id": 1, "x": ""}).to_string();
    let padding = "x".repeat(16 * 1024 - frame.len());
    socket.send(json!({"type": "baile", "id": 1, "x": padding})).await;
    assert_eq!(socket.frame().await["code"], "bad_request");
}
