//! Tokens expire and are renewed on an open connection; grants change immediately.

use serde_json::{Value, json};

use crate::support::{Gateway, HOUR, Placeholders, Socket, assert_json_matches, claims, sign};

const EXACT: &str = "[auth]\nleeway = \"0s\"\n";

async fn v1(gateway: &Gateway, claims: &Value) -> Socket {
    let mut socket = gateway.v1_silent("/ws").await;
    socket.hello(&sign(claims)).await;
    socket.welcome().await;
    socket
}

/// `claims` with one more claim.
fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[tokio::test]
async fn closes_a_connection_when_its_token_expires() {
    let gateway = Gateway::with(EXACT).await;
    let mut witness = gateway.v1("testigo").await;
    let short = sign(&claims("7", 3));
    let bearer = format!("Bearer {short}");
    let mut plain = Socket::open(gateway.public, "/ws", &[("Authorization", &bearer)]).await;
    let mut v1 = v1(&gateway, &claims("8", 4)).await;
    assert_eq!(v1.frame().await, json!({"type": "auth_due"}));
    for socket in [&mut plain, &mut v1] {
        let (code, reason) = socket.closed().await;
        assert_eq!((code, reason), (4401, json!({"reason": "token expired"})));
    }
    gateway.still_serves(&mut witness).await;
    gateway.members("usuario_7", 0).await;
    let report = gateway.ask("GET /users/7", &[], "").await.json();
    assert_eq!(report["last_close"], 4401);
}

#[tokio::test]
async fn a_renewed_token_keeps_the_connection_past_the_old_tokens_expiry() {
    let gateway = Gateway::with(EXACT).await;
    let mut renewed = v1(&gateway, &claims("7", 3)).await;
    let mut not_renewed = v1(&gateway, &claims("8", 4)).await;
    assert_eq!(renewed.frame().await, json!({"type": "auth_due"}));
    let answer = renewed.ask(json!({"type": "auth", "token": sign(&claims("7", HOUR))})).await;
    assert_json_matches(
        &answer,
        &json!({"type": "authed", "expires_in": "<number>"}),
        &mut Placeholders::new(),
    );
    // The other connection closes a second after the old token expires.
    assert_eq!(not_renewed.frame().await, json!({"type": "auth_due"}));
    assert_eq!(not_renewed.closed().await.0, 4401);
    gateway.publish("usuario_7", json!({"type": "x"})).await;
    assert_eq!(renewed.event().await, json!({"type": "x"}));
}

#[tokio::test]
async fn a_new_token_changes_the_groups_at_once() {
    let gateway = Gateway::start().await;
    let granted = with(claims("7", HOUR), "groups", json!(["equipo_1", "equipo_2"]));
    let mut socket = v1(&gateway, &with(granted, "grants", json!({"join": ["privado.*"]}))).await;
    for group in ["sala_1", "privado.1"] {
        socket.join(group).await;
    }
    let token = sign(&with(claims("7", HOUR), "groups", json!(["equipo_2", "equipo_3"])));
    assert_eq!(socket.ask(json!({"type": "auth", "token": token})).await["type"], "authed");
    let left = socket.frame().await;
    let mut names: Vec<_> =
        left["groups"].as_array().unwrap().iter().map(|g| &g["group"]).collect();
    names.sort_by_key(|name| name.to_string());
    assert_eq!((&left["type"], &left["reason"]), (&json!("left"), &json!("grants")), "{left}");
    assert_eq!(names, ["equipo_1", "privado.1"], "groups that are still granted stay");
    let joined = json!({"type": "joined", "groups": [{"group": "equipo_3"}], "reason": "grants"});
    assert_eq!(socket.frame().await, joined);
    for group in ["equipo_1", "privado.1", "equipo_2", "equipo_3", "sala_1", "usuario_7"] {
        gateway.publish(group, json!({"type": group})).await;
    }
    for group in ["equipo_2", "equipo_3", "sala_1", "usuario_7"] {
        assert_eq!(socket.event().await, json!({"type": group}));
    }
    let refused = socket.ask(json!({"type": "join", "groups": ["privado.1"]})).await;
    assert_eq!(refused["groups"][0]["error"]["code"], "forbidden");
}

#[tokio::test]
async fn a_renewal_that_fails_changes_nothing() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1("7").await;
    let mut messages = Vec::new();
    for token in ["", "x.y.z", &sign(&claims("7", -60)), &sign(&json!({"sub": "7"}))] {
        let answer = socket.ask(json!({"type": "auth", "token": token})).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("unauthorized")));
        messages.push(answer["message"].as_str().unwrap().to_owned());
    }
    messages.dedup();
    assert_eq!(messages.len(), 1, "the cause is for the log alone: {messages:?}");
    gateway.publish("usuario_7", json!({"type": "x"})).await;
    assert_eq!(socket.event().await, json!({"type": "x"}));
    let expired = r#"groupcast_auth_failures_total{cause="expired"}"#;
    assert_eq!(gateway.metric(expired).await, 1.0);
}

#[tokio::test]
async fn closes_a_connection_that_renews_with_another_users_token() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1("7").await;
    socket.send(json!({"type": "auth", "id": 1, "token": sign(&claims("8", HOUR))})).await;
    assert_eq!(socket.closed().await.0, 4403);
    gateway.members("usuario_7", 0).await;
    gateway.members("usuario_8", 0).await;
}
