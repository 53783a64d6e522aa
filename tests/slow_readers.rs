//! Clients that do not read: bounded by policy, counted, with a gap when they read again.

use serde_json::{Value, json};

use crate::support::{Gateway, Opcode, Raw, Socket, eventually, token};

/// Publications of 2 KiB: more in all than the kernel buffers for one socket.
const MANY: u64 = 400;

fn limits(overflow: &str) -> String {
    format!(
        "[limits]\nnotsent_lowat = \"4KiB\"\n\
         [[limits.group]]\npattern = \"sala_*\"\ncapacity = 20\noverflow = \"{overflow}\"\n"
    )
}

fn event(n: u64) -> Value {
    json!({"type": "cuenta", "n": n, "x": "x".repeat(2000)})
}

/// A v1 member of `sala_1` that reads only on demand.
async fn v1_member(gateway: &Gateway, sub: &str) -> Raw {
    let mut raw = Raw::connect_narrow(gateway.public).await;
    raw.upgrade("/ws", &["Sec-WebSocket-Protocol: groupcast.v1.json"]).await;
    let hello = json!({"type": "hello", "token": token(sub)}).to_string();
    raw.frame(Opcode::Text, hello.as_bytes()).await;
    raw.frame(Opcode::Text, br#"{"type":"join","id":1,"groups":["sala_1"]}"#).await;
    assert!(raw.text().await.contains("welcome"));
    assert!(raw.text().await.contains("joined"));
    raw
}

/// A member that reads and must miss nothing.
async fn reader(gateway: &Gateway) -> Socket {
    let mut socket = gateway.v1("lector").await;
    socket.join("sala_1").await;
    socket
}

async fn publish_all(gateway: &Gateway, reader: &mut Socket) {
    for n in 0..MANY {
        gateway.publish("sala_1", event(n)).await;
        assert_eq!(reader.event().await["n"], n);
    }
}

/// Waits until the shard of user 7, which may not be the reader's, has fanned out all events: each
/// was sent, was dropped or is queued, with `gaps` gaps. Returns the connection's report.
async fn settled(gateway: &Gateway, gaps: u64) -> Value {
    let mut connection = Value::Null;
    eventually("the slow reader's shard to have fanned out everything", async || {
        connection = gateway.ask("GET /users/7", &[], "").await.json()["connections"][0].take();
        let count = |value: &Value| value.as_u64().unwrap();
        let dropped: u64 = connection["dropped"].as_object().unwrap().values().map(count).sum();
        let waiting = count(&connection["waiting"]);
        count(&connection["sent"]) + dropped + waiting == MANY + gaps
    })
    .await;
    connection
}

/// What a v1 client received: numbers in order, and how many were reported lost.
#[derive(Debug, Default)]
struct Report {
    numbers: Vec<u64>,
    lost: u64,
    reasons: Vec<String>,
}

/// Reads events and gaps up to the event with this number.
async fn read_until(raw: &mut Raw, last: u64) -> Report {
    let mut report = Report::default();
    while report.numbers.last() != Some(&last) {
        let frame: Value = serde_json::from_str(&raw.text().await).unwrap();
        match frame["type"].as_str().unwrap() {
            "event" => report.numbers.push(frame["data"]["n"].as_u64().unwrap()),
            "gap" => {
                assert_eq!((&frame["group"], &frame["possible"]), (&json!("sala_1"), &Value::Null));
                report.lost += frame["lost"].as_u64().unwrap();
                report.reasons.push(frame["reason"].as_str().unwrap().to_owned());
            }
            "ping" => {}
            other => panic!("{other}: {frame}"),
        }
        assert!(report.numbers.is_sorted(), "in order");
    }
    report
}

#[tokio::test]
async fn drops_the_oldest_and_sends_the_gap_in_their_place() {
    let gateway = Gateway::with(&limits("drop_oldest")).await;
    let mut slow = v1_member(&gateway, "7").await;
    let mut reader = reader(&gateway).await;
    publish_all(&gateway, &mut reader).await;

    let connection = settled(&gateway, 1).await;
    assert!(connection["waiting"].as_u64().unwrap() <= 22, "20 and a gap and a head: {connection}");
    let dropped = connection["dropped"]["capacity"].as_u64().unwrap();
    assert!(dropped > 100, "{connection}");
    assert_eq!(
        gateway.metric(r#"groupcast_dropped_total{reason="capacity"}"#).await,
        dropped as f64
    );

    let waiting = connection["waiting_bytes"].as_f64().unwrap();
    assert_eq!(gateway.metric("groupcast_outbox_bytes").await, waiting);
    assert!(waiting > 20_000.0, "{connection}");

    let report = read_until(&mut slow, MANY - 1).await;
    assert_eq!(report.lost, dropped);
    gateway.metric_reaches("groupcast_gaps_total", 1.0).await;
    assert_eq!(gateway.metric("groupcast_outbox_bytes").await, 0.0);
    assert_eq!(report.reasons, ["slow"], "one gap, merged");
    assert_eq!(report.numbers.len() as u64 + report.lost, MANY, "delivered or reported");
    let newest: Vec<_> = (MANY - 20..MANY).collect();
    assert!(report.numbers.ends_with(&newest), "{:?}", report.numbers);
    // A slow reader that has caught up receives events as usual.
    gateway.publish("sala_1", event(MANY)).await;
    assert_eq!(read_until(&mut slow, MANY).await.lost, 0);
}

#[tokio::test]
async fn drops_the_newest_where_that_is_the_policy() {
    let gateway = Gateway::with(&limits("drop_newest")).await;
    let mut slow = v1_member(&gateway, "7").await;
    let mut reader = reader(&gateway).await;
    publish_all(&gateway, &mut reader).await;
    settled(&gateway, 1).await;
    let dropped = gateway.metric(r#"groupcast_dropped_total{reason="capacity"}"#).await as u64;
    assert!(dropped > 100, "{dropped}");
    let kept = MANY - dropped;
    let report = read_until(&mut slow, kept - 1).await;
    assert_eq!((report.numbers, report.lost), ((0..kept).collect(), 0), "all before the gap");
    gateway.publish("sala_1", event(MANY)).await;
    let report = read_until(&mut slow, MANY).await;
    assert_eq!((report.lost, report.reasons), (dropped, vec!["slow".to_owned()]));
}

#[tokio::test]
async fn closes_the_connection_where_that_is_the_policy() {
    let gateway = Gateway::with(&limits("close")).await;
    let mut slow = v1_member(&gateway, "7").await;
    let mut reader = reader(&gateway).await;
    publish_all(&gateway, &mut reader).await;
    assert_eq!(gateway.metric(r#"groupcast_closes_total{code="4508"}"#).await, 1.0);
    gateway.members("sala_1", 1).await;
    // Frames already being written come first, complete, then the close.
    let code = loop {
        match slow.next().await.expect("a close frame before the end") {
            (Opcode::Text, text) => drop(serde_json::from_slice::<Value>(&text).unwrap()),
            (Opcode::Close, payload) => break u16::from_be_bytes([payload[0], payload[1]]),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 4508);
    assert_eq!(slow.next().await, None);
}

#[tokio::test]
async fn bounds_a_plain_reader_the_same_and_sends_it_no_gap() {
    let gateway = Gateway::with(
        "[limits]\nnotsent_lowat = \"4KiB\"\n\
         [[limits.group]]\npattern = \"usuario_*\"\ncapacity = 20\n",
    )
    .await;
    let mut slow = Raw::connect_narrow(gateway.public).await;
    slow.upgrade("/ws", &[&format!("Authorization: Bearer {}", token("7"))]).await;
    gateway.members("usuario_7", 1).await;
    let mut witness = gateway.v1("testigo").await;
    for n in 0..MANY {
        gateway.publish("usuario_7", event(n)).await;
    }
    gateway.still_serves(&mut witness).await;
    settled(&gateway, 0).await;
    let dropped = gateway.metric(r#"groupcast_dropped_total{reason="capacity"}"#).await as u64;
    assert!(dropped > 100, "{dropped}");
    for _ in 0..MANY - dropped {
        let shown: Value = serde_json::from_str(&slow.text().await).unwrap();
        assert_eq!(shown["type"], "cuenta");
    }
    gateway.publish("usuario_7", json!({"type": "fin"})).await;
    assert_eq!(slow.text().await, r#"{"type":"fin"}"#);
}

#[tokio::test]
async fn bounds_the_bytes_of_all_groups_together() {
    let gateway = Gateway::with(
        "[limits]\nnotsent_lowat = \"4KiB\"\n\
         outbox_bytes = \"32KiB\"\nmax_event_bytes = \"8KiB\"\n",
    )
    .await;
    let mut slow = v1_member(&gateway, "7").await;
    let mut reader = reader(&gateway).await;
    publish_all(&gateway, &mut reader).await;
    let connection = settled(&gateway, 1).await;
    let bytes = connection["waiting_bytes"].as_u64().unwrap();
    assert!((20_000..=33_000).contains(&bytes), "{connection}");
    let dropped = gateway.metric(r#"groupcast_dropped_total{reason="bytes"}"#).await as u64;
    let report = read_until(&mut slow, MANY - 1).await;
    assert_eq!((report.lost, report.numbers.len() as u64), (dropped, MANY - dropped));
}

#[tokio::test]
async fn reports_expired_events_as_a_gap_instead_of_delivering_them() {
    let gateway = Gateway::with("[limits]\nnotsent_lowat = \"4KiB\"\n").await;
    let mut slow = v1_member(&gateway, "7").await;
    // Events that do not expire fill the socket, so that those that expire have to wait.
    let mut filling = 0;
    let waiting = async || {
        let report = gateway.ask("GET /users/7", &[], "").await.json();
        report["connections"][0]["waiting"].as_u64().unwrap()
    };
    while waiting().await < 3 {
        gateway.publish("sala_1", event(filling)).await;
        filling += 1;
    }
    for n in 0..10 {
        gateway.send("/groups/sala_1/send?expiry_ms=20", event(1000 + n)).await;
    }
    gateway.publish("sala_1", event(2000)).await;
    // Ages of connections have a resolution of a second.
    let born =
        gateway.ask("GET /users/7", &[], "").await.json()["connections"][0]["age_ms"].clone();
    eventually("two seconds to pass", async || {
        let report = gateway.ask("GET /users/7", &[], "").await.json();
        report["connections"][0]["age_ms"].as_u64() > born.as_u64().map(|age| age + 1000)
    })
    .await;
    let report = read_until(&mut slow, 2000).await;
    assert_eq!((report.lost, &*report.reasons), (10, &["expired".to_owned()][..]));
    assert_eq!(report.numbers.len() as u64, filling + 1);
    assert_eq!(gateway.metric(r#"groupcast_dropped_total{reason="expired"}"#).await, 10.0);
}

#[tokio::test]
async fn closes_a_client_that_asks_more_than_it_reads() {
    let gateway = Gateway::with("[limits]\nnotsent_lowat = \"4KiB\"\nframe_burst = 100000\n").await;
    let mut witness = gateway.v1("testigo").await;
    let mut slow = v1_member(&gateway, "7").await;
    let groups = (0..1000).map(|n| format!("no va {n}")).collect::<Vec<_>>();
    let leave = json!({"type": "leave", "id": 1, "groups": &groups}).to_string();
    // Each answer has about 100 KiB, so a few exceed the lane's bytes.
    for _ in 0..30 {
        slow.frame(Opcode::Text, leave.as_bytes()).await;
    }
    gateway.metric_reaches(r#"groupcast_closes_total{code="4508"}"#, 1.0).await;
    gateway.still_serves(&mut witness).await;
}

#[tokio::test]
async fn counts_what_is_queued_when_a_connection_ends() {
    let gateway = Gateway::with("[limits]\nnotsent_lowat = \"4KiB\"\n").await;
    let slow = v1_member(&gateway, "7").await;
    for n in 0..MANY / 2 {
        gateway.publish("sala_1", event(n)).await;
    }
    let report = gateway.ask("GET /users/7", &[], "").await.json();
    let waiting = report["connections"][0]["waiting"].as_u64().unwrap();
    assert!(waiting > 20, "{report}");
    drop(slow);
    gateway.metric_reaches(r#"groupcast_dropped_total{reason="closed"}"#, 1.0).await;
    let closed = gateway.metric(r#"groupcast_dropped_total{reason="closed"}"#).await as u64;
    assert!(closed >= waiting - 2, "{closed} of {waiting}: all but what was partly written");
}
