//! A publication repeated under its key is published once, by HTTP and by `send` alike.

use serde_json::{Value, json};

use crate::support::{Answer, Gateway};

async fn post(gateway: &Gateway, key: &str, event: &Value) -> Answer {
    let key = format!("Idempotency-Key: {key}");
    gateway.ask("POST /groups/sala_1/send", &[&key], &event.to_string()).await
}

#[tokio::test]
async fn answers_a_repeated_key_with_the_first_result_and_publishes_nothing() {
    let gateway = Gateway::start().await;
    let mut member = gateway.v1("7").await;
    member.join("sala_1").await;
    let event = json!({"type": "pago", "monto": 10});
    let first = post(&gateway, "\"p-1\"", &event).await;
    let again = post(&gateway, "\"p-1\"", &event).await;
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.json(), again.json());
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    gateway.publish("sala_1", json!({"type": "fin"})).await;
    assert_eq!(member.event().await, event);
    assert_eq!(member.event().await, json!({"type": "fin"}), "it arrived once");
}

#[tokio::test]
async fn refuses_a_repeated_key_with_another_body() {
    let gateway = Gateway::start().await;
    assert_eq!(post(&gateway, "k", &json!({"type": "a"})).await.status, 202);
    let other = post(&gateway, "k", &json!({"type": "b"})).await;
    assert_eq!(other.status, 422);
    assert_eq!(other.json()["code"], "idempotency_key_reused");
}

#[tokio::test]
async fn publishes_simultaneous_repetitions_once() {
    let gateway = Gateway::start().await;
    let mut member = gateway.v1("7").await;
    member.join("sala_1").await;
    let event = json!({"type": "pago"});
    let post = || post(&gateway, "k", &event);
    let answers = tokio::join!(post(), post(), post(), post());
    let bodies = [answers.0, answers.1, answers.2, answers.3].map(|answer| answer.json());
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    gateway.publish("sala_1", json!({"type": "fin"})).await;
    assert_eq!(member.event().await, event);
    assert_eq!(member.event().await, json!({"type": "fin"}));
}

fn send(key: &str, text: &str) -> Value {
    let data = json!({"type": "mensaje", "texto": text});
    json!({"type": "send", "group": "sala_1", "data": data, "key": key, "echo": false})
}

#[tokio::test]
async fn a_repeated_key_is_recognized_on_a_new_connection() {
    let gateway = Gateway::start().await;
    let mut member = gateway.v1("8").await;
    member.join("sala_1").await;
    let first = gateway.v1("7").await.ask(send("k", "hola")).await;
    assert_eq!(first["type"], "result", "{first}");
    let mut back = gateway.v1("7").await;
    assert_eq!(back.ask(send("k", "hola")).await, first);
    let other = back.ask(send("k", "adiós")).await;
    assert_eq!((&other["type"], &other["code"]), (&json!("error"), &json!("duplicate_key")));
    let other_user = gateway.v1("9").await.ask(send("k", "hola")).await;
    assert_eq!(other_user["type"], "result");
    assert_ne!(other_user, first, "each user has separate keys");
    for _ in 0..2 {
        assert_eq!(member.event().await, json!({"type": "mensaje", "texto": "hola"}));
    }
    gateway.publish("sala_1", json!({"type": "fin"})).await;
    assert_eq!(member.event().await, json!({"type": "fin"}));
}

#[tokio::test]
async fn publishes_a_send_without_a_key_each_time_and_echoes_it_by_default() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1("7").await;
    socket.join("sala_1").await;
    for id in 1..=2 {
        let data = json!({"type": "mensaje"});
        socket.send(json!({"type": "send", "id": id, "group": "sala_1", "data": data})).await;
        // Event and result may come in either order.
        let mut kinds = [socket.frame().await, socket.frame().await];
        kinds.sort_by_key(|frame| frame["type"].to_string());
        assert_eq!((&kinds[0]["type"], &kinds[1]["type"]), (&json!("event"), &json!("result")));
        assert_eq!(kinds[0]["id"], kinds[1]["data"]["id"], "one publication, one id");
    }
}
