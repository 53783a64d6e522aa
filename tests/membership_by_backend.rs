//! Back ends change memberships, as `group_add` and `group_discard` do in Channels.

use serde_json::json;

use crate::support::{Gateway, claims, sign, token};

async fn change(gateway: &Gateway, method: &str, group: &str, member: &str) {
    let line = format!("{method} /groups/{group}/members/{member}");
    let answer = gateway.ask(&line, &[], "").await;
    assert_eq!(answer.status, 202, "{}", answer.body);
}

#[tokio::test]
async fn adds_and_removes_a_user_on_all_connections() {
    let gateway = Gateway::start().await;
    let (mut one, mut two) = (gateway.v1("7").await, gateway.v1("7").await);
    let mut other = gateway.v1("8").await;
    change(&gateway, "PUT", "vip", "user:7").await;
    let joined = json!({"type": "joined", "groups": [{"group": "vip"}], "reason": "backend"});
    assert_eq!(one.frame().await, joined);
    assert_eq!(two.frame().await, joined);
    gateway.publish("vip", json!({"type": "x"})).await;
    assert_eq!(one.event().await, json!({"type": "x"}));
    assert_eq!(two.event().await, json!({"type": "x"}));
    change(&gateway, "DELETE", "vip", "user:7").await;
    let left = json!({"type": "left", "groups": [{"group": "vip"}], "reason": "backend"});
    assert_eq!(one.frame().await, left);
    assert_eq!(two.frame().await, left);
    gateway.publish("vip", json!({"type": "y"})).await;
    gateway.broadcast(json!({"type": "z"})).await;
    for socket in [&mut one, &mut two, &mut other] {
        assert_eq!(socket.event().await, json!({"type": "z"}), "not a member, so no publication");
    }
}

#[tokio::test]
async fn adds_one_connection_by_its_id() {
    let gateway = Gateway::start().await;
    let mut one = gateway.v1_silent("/ws").await;
    one.hello(&token("7")).await;
    let id = one.welcome().await["connection"].as_str().unwrap().to_owned();
    let mut namesake = gateway.v1("7").await;
    change(&gateway, "PUT", "vip", &id).await;
    assert_eq!(one.frame().await["type"], "joined");
    gateway.publish("vip", json!({"type": "x"})).await;
    gateway.publish("usuario_7", json!({"type": "y"})).await;
    assert_eq!(one.event().await, json!({"type": "x"}));
    assert_eq!(namesake.event().await, json!({"type": "y"}));
}

#[tokio::test]
async fn adds_plain_clients_without_a_notification() {
    let gateway = Gateway::start().await;
    let mut plain = gateway.plain_member("7").await;
    change(&gateway, "PUT", "vip", "user:7").await;
    gateway.members("vip", 1).await;
    gateway.publish("vip", json!({"type": "x"})).await;
    assert_eq!(plain.frame().await, json!({"type": "x"}));
    change(&gateway, "DELETE", "vip", "user:7").await;
    gateway.members("vip", 0).await;
    gateway.publish("vip", json!({"type": "y"})).await;
    gateway.publish("usuario_7", json!({"type": "z"})).await;
    assert_eq!(plain.frame().await, json!({"type": "z"}));
}

#[tokio::test]
async fn adding_twice_and_removing_a_missing_member_change_nothing() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1("7").await;
    for method in ["DELETE", "PUT", "PUT"] {
        change(&gateway, method, "vip", "user:7").await;
    }
    change(&gateway, "PUT", "vip", "user:nobody").await;
    assert_eq!(socket.frame().await["type"], "joined");
    gateway.publish("vip", json!({"type": "x"})).await;
    assert_eq!(socket.event().await, json!({"type": "x"}), "one joined, no left, one event");
}

#[tokio::test]
async fn a_new_token_keeps_memberships_given_by_the_back_end() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1("7").await;
    change(&gateway, "PUT", "vip", "user:7").await;
    assert_eq!(socket.frame().await["type"], "joined");
    let answer = socket.ask(json!({"type": "auth", "token": sign(&claims("7", 600))})).await;
    assert_eq!(answer["type"], "authed");
    gateway.publish("vip", json!({"type": "x"})).await;
    assert_eq!(socket.event().await, json!({"type": "x"}));
    let left = socket.ask(json!({"type": "leave", "groups": ["vip"]})).await;
    assert_eq!(left["groups"], json!([{"group": "vip"}]), "the client may leave it nevertheless");
}

#[tokio::test]
async fn refuses_more_groups_for_a_connection_at_its_limit() {
    let gateway = Gateway::with("[limits]\ngroups_per_connection = 2\n").await;
    let mut socket = gateway.v1("7").await;
    socket.join("sala_1").await;
    change(&gateway, "PUT", "vip", "user:7").await;
    gateway.publish("vip", json!({"type": "x"})).await;
    gateway.publish("sala_1", json!({"type": "y"})).await;
    assert_eq!(socket.event().await, json!({"type": "y"}));
    gateway.members("vip", 0).await;
}
