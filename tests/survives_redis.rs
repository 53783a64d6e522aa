//! Redis fails and returns: publishers get 503 immediately, clients a gap.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{RedisServer, Socket, eventually, request};
use crate::two_instances::gateway;

/// The longest until delivery resumes once Redis answers.
const RESUMED: Duration = Duration::from_secs(2);

/// The next frame that concerns `group`.
async fn of_group(socket: &mut Socket, group: &str) -> serde_json::Value {
    loop {
        let frame = socket.frame().await;
        if frame["group"] == group {
            return frame;
        }
    }
}

#[tokio::test]
async fn publishers_get_503_and_clients_a_gap_while_redis_is_away() {
    let mut server = RedisServer::start();
    let one = gateway(&server).await;
    let mut ana = one.v1("ana").await;
    ana.join("sala_1").await;
    for empty in [false, true] {
        server.kill();
        let since = Instant::now();
        eventually("the loss to show", async || one.strict().await == 503).await;
        assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
        // No other instance could do better.
        assert_eq!(request(one.api, "GET /readyz", &[], b"").await.status, 200);
        let body = r#"{"type":"aviso"}"#;
        let since = Instant::now();
        let answer = one.ask("POST /groups/sala_1/send", &[], body).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert!(since.elapsed() < Duration::from_secs(1), "refused immediately");
        if empty {
            server.wipe();
        }
        server.start_again();
        let since = Instant::now();
        eventually("delivery to resume", async || {
            one.ask("POST /groups/sala_1/send", &[], body).await.status == 202
        })
        .await;
        one.ready().await;
        assert!(since.elapsed() < RESUMED, "{:?}", since.elapsed());
        let gap = json!({"type": "gap", "group": "sala_1", "reason": "layer", "possible": true});
        assert_eq!(of_group(&mut ana, "sala_1").await, gap);
        one.publish("sala_1", json!({"type": "sigue"})).await;
        while of_group(&mut ana, "sala_1").await["data"] != json!({"type": "sigue"}) {}
    }
}

#[tokio::test]
async fn recovers_events_missed_by_a_broken_subscription_from_history() {
    let server = RedisServer::start();
    let (one, two) = (gateway(&server).await, gateway(&server).await);
    let mut ana = two.v1("ana").await;
    ana.ask(json!({"type": "join", "groups": ["pedido.42"]})).await;
    let mut offset = 0;
    for _ in 0..5 {
        // Both subscriptions break; publications go on by the other connection.
        assert_eq!(server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]), ":2\r\n");
        for _ in 0..30 {
            one.publish("pedido.42", json!({"type": "paso"})).await;
        }
        for _ in 0..30 {
            offset += 1;
            let frame = of_group(&mut ana, "pedido.42").await;
            assert_eq!((&frame["type"], &frame["offset"]), (&json!("event"), &json!(offset)));
        }
        two.ready().await;
        one.ready().await;
    }
}

#[tokio::test]
async fn a_different_redis_starts_a_new_epoch_and_reports_it() {
    let mut server = RedisServer::start();
    let one = gateway(&server).await;
    let mut ana = one.v1("ana").await;
    let joined = ana.ask(json!({"type": "join", "groups": ["pedido.42"]})).await;
    let epoch = joined["groups"][0]["epoch"].as_str().unwrap().to_owned();
    one.publish("pedido.42", json!({"type": "paso"})).await;
    assert_eq!(ana.frame().await["offset"], 1);
    for empty in [false, true] {
        server.kill();
        eventually("the loss to show", async || one.strict().await == 503).await;
        if empty {
            server.wipe();
        }
        server.start_again();
        one.ready().await;
        let answer = one.ask("POST /groups/pedido.42/send", &[], r#"{"type":"paso"}"#).await.json();
        assert_ne!(answer["epoch"], json!(epoch), "another Redis, or one that was restarted");
        assert_eq!(answer["offset"], 1);
        let possible = of_group(&mut ana, "pedido.42").await;
        assert_eq!((&possible["type"], &possible["possible"]), (&json!("gap"), &json!(true)));
        let mut gap = possible;
        if gap["epoch"].is_null() {
            gap = of_group(&mut ana, "pedido.42").await;
        }
        assert_eq!((&gap["type"], &gap["epoch"]), (&json!("gap"), &answer["epoch"]));
        assert_eq!(of_group(&mut ana, "pedido.42").await["offset"], 1);
    }
}

#[tokio::test]
async fn a_redis_that_refuses_writes_is_named_by_its_own_error() {
    let (primary, server) = (RedisServer::start(), RedisServer::start());
    let one = gateway(&server).await;
    let port = primary.url().rsplit(':').next().unwrap().to_owned();
    server.ask(&["REPLICAOF", "127.0.0.1", &port]);
    eventually("the probe to show it", async || {
        let answer = request(one.api, "GET /readyz?strict", &[], b"").await;
        answer.status == 503 && answer.body.starts_with("redis refuses: READONLY")
    })
    .await;
    let answer = one.ask("POST /groups/sala_1/send", &[], r#"{"type":"aviso"}"#).await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("READONLY"), "{}", answer.body);
    server.ask(&["REPLICAOF", "NO", "ONE"]);
    one.ready().await;
    one.publish("sala_1", json!({"type": "sigue"})).await;
}
