//! Losses are repaired from the histories beside delivery.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Gateway, RedisServer, Socket, eventually};
use crate::two_instances::gateway;

/// Without it nothing can be said about the history of `pedido.1`.
const NUMBERING: &str = "groupcast:numbering:{pedido.1}";

/// A gateway with one member of `pedido.1`, which has an event, and of `sala_1`.
async fn member(server: &RedisServer) -> (Gateway, Socket) {
    let gateway = gateway(server).await;
    let mut ana = gateway.v1("ana").await;
    ana.join("sala_1").await;
    assert_eq!(ana.ask(json!({"type": "join", "groups": ["pedido.1"]})).await["type"], "joined");
    gateway.publish("pedido.1", json!({"type": "uno"})).await;
    assert_eq!(ana.event().await["type"], "uno");
    (gateway, ana)
}

/// Makes the history unreadable and ends all subscriptions. Returns when the gateway has subscribed
/// again, and so has asked for the history.
async fn lose(server: &RedisServer, gateway: &Gateway) {
    assert_eq!(server.ask(&["RENAME", NUMBERING, "aside"]), "+OK\r\n");
    assert_eq!(server.ask(&["SET", NUMBERING, "no"]), "+OK\r\n");
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    eventually("the subscription to be renewed", async || {
        let lost = gateway.metric("groupcast_layer_subscription_lost_total").await;
        let channels = server.ask(&["PUBSUB", "NUMSUB", "groupcast:group:sala_1"]);
        lost >= 1.0 && channels.ends_with(":1\r\n")
    })
    .await;
    gateway.ready().await;
}

fn publish(server: &RedisServer, group: &str, kind: &str) {
    let event = json!({"type": kind}).to_string();
    server.ask(&["PUBLISH", &format!("groupcast:group:{group}"), &event]);
}

/// The kind and the group of the next frame, or the event's type and its group.
async fn next(socket: &mut Socket) -> (Value, Value) {
    let mut frame = socket.frame().await;
    let kind = match frame["type"] == "event" {
        true => frame["data"]["type"].take(),
        false => frame["type"].take(),
    };
    let group = match frame["groups"].get_mut(0) {
        Some(first) => first["group"].take(),
        None => frame["group"].take(),
    };
    (kind, group)
}

/// Everything of the two groups up to the event `last`.
async fn up_to(socket: &mut Socket, last: &str) -> Vec<(Value, Value)> {
    let mut frames = Vec::new();
    while frames.last().is_none_or(|(kind, _)| kind != last) {
        frames.push(next(socket).await);
    }
    frames.retain(|(_, group)| group == "pedido.1" || group == "sala_1");
    frames
}

#[tokio::test]
async fn other_groups_do_not_wait_for_a_history_that_does_not_answer() {
    let server = RedisServer::start();
    let (gateway, mut ana) = member(&server).await;
    lose(&server, &gateway).await;
    publish(&server, "pedido.1", "dos");
    publish(&server, "sala_1", "otro");
    let frame = |kind: &str, group: &str| (json!(kind), json!(group));
    let frames = up_to(&mut ana, "otro").await;
    assert_eq!(frames, [frame("gap", "sala_1"), frame("otro", "sala_1")]);
    // The deadline is over.
    let frames = up_to(&mut ana, "dos").await;
    assert_eq!(frames, [frame("gap", "pedido.1"), frame("dos", "pedido.1")]);
}

#[tokio::test]
async fn what_is_held_back_follows_what_the_history_has() {
    let server = RedisServer::start();
    let (gateway, mut ana) = member(&server).await;
    lose(&server, &gateway).await;
    publish(&server, "pedido.1", "dos");
    publish(&server, "sala_1", "otro");
    up_to(&mut ana, "otro").await;
    assert_eq!(server.ask(&["RENAME", "aside", NUMBERING]), "+OK\r\n");
    let frames = up_to(&mut ana, "dos").await;
    assert_eq!(frames, [(json!("dos"), json!("pedido.1"))], "there is no gap");
}

#[tokio::test]
async fn a_leave_does_not_wait_for_a_history() {
    let server = RedisServer::start();
    let (gateway, mut ana) = member(&server).await;
    lose(&server, &gateway).await;
    publish(&server, "pedido.1", "dos");
    let answer = gateway.ask("DELETE /groups/pedido.1/members/user:ana", &[], "").await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let answered = std::time::Instant::now();
    let frames = up_to(&mut ana, "left").await;
    let kinds: Vec<_> = frames.iter().filter(|(_, group)| group == "pedido.1").collect();
    let frame = |kind: &str| (json!(kind), json!("pedido.1"));
    assert_eq!(kinds, [&frame("gap"), &frame("dos"), &frame("left")]);
    assert!(answered.elapsed() < Duration::from_millis(1500), "{:?}", answered.elapsed());
}
