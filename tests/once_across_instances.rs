//! A publication repeated under its key at another instance is published once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Answer, Endpoints, Gateway, Instance, RedisServer, eventually};
use crate::two_instances::{gateway, over};

async fn post(to: &Endpoints, key: &str, event: &Value) -> Answer {
    post_to(to, "pedido.42", key, event).await
}

async fn post_to(to: &Endpoints, group: &str, key: &str, event: &Value) -> Answer {
    let key = format!("Idempotency-Key: {key}");
    to.ask(&format!("POST /groups/{group}/send"), &[&key], &event.to_string()).await
}

fn send(id: u64, key: Option<&str>) -> Value {
    let data = json!({"type": "mensaje", "n": id});
    json!({"type": "send", "id": id, "group": "sala_1", "data": data, "key": key})
}

#[tokio::test]
async fn two_instances_publish_what_both_are_asked_at_once_once() {
    let server = RedisServer::start();
    let (one, two) = (gateway(&server).await, gateway(&server).await);
    let mut ana = one.v1("ana").await;
    ana.ask(json!({"type": "join", "groups": ["pedido.42"]})).await;
    for n in 1..=20 {
        let (key, event) = (format!("pago-{n}"), json!({"type": "pago", "n": n}));
        let answers = tokio::join!(post(&one, &key, &event), post(&two, &key, &event));
        let (here, there) = (answers.0, answers.1);
        assert_eq!((here.status, there.status), (202, 202), "{} {}", here.body, there.body);
        assert_eq!(here.json(), there.json());
        assert_eq!(here.json()["offset"], n);
        let replayed = |answer: &Answer| answer.header("idempotency-replayed").is_some();
        assert_ne!(replayed(&here), replayed(&there));
        assert_eq!(ana.event().await, event);
    }
    // From any instance, also without a history.
    let event = json!({"type": "pago"});
    let first = post_to(&one, "sala_1", "k", &event).await;
    let again = post_to(&two, "sala_1", "k", &event).await;
    assert_eq!(first.json(), again.json());
}

#[tokio::test]
async fn another_content_under_a_key_is_refused_at_another_instance() {
    let server = RedisServer::start();
    let (one, two) = (gateway(&server).await, gateway(&server).await);
    assert_eq!(post(&one, "k", &json!({"type": "a"})).await.status, 202);
    let other = post(&two, "k", &json!({"type": "b"})).await;
    assert_eq!((other.status, &other.json()["code"]), (422, &json!("idempotency_key_reused")));
    let mut ana = one.v1("ana").await;
    let first = ana.ask(send(1, Some("k"))).await;
    assert_eq!(first["type"], "result", "a browser's keys are apart: {first}");
    let mut elsewhere = two.v1("ana").await;
    let data = json!({"type": "otro"});
    let frame = json!({"type": "send", "group": "sala_1", "data": data, "key": "k"});
    assert_eq!(elsewhere.ask(frame).await["code"], "duplicate_key");
}

#[tokio::test]
async fn what_a_killed_instance_published_is_not_published_again() {
    let server = RedisServer::start();
    let two = gateway(&server).await;
    let mut ana = two.v1("ana").await;
    ana.ask(json!({"type": "join", "groups": ["pedido.42"]})).await;
    let mut one = Instance::start(&over(&server)).await;
    one.kill();
    one.start_to_fail("after-once:abort:1").await;
    one.ready().await;
    let (event, endpoints) = (json!({"type": "pago"}), *one);
    let lost = tokio::spawn(async move { post(&endpoints, "k", &json!({"type": "pago"})).await });
    eventually("the instance to die", async || one.has_ended()).await;
    assert!(lost.await.is_err(), "the answer is lost");
    let frame = ana.frame().await;
    assert_eq!((&frame["offset"], &frame["data"]), (&json!(1), &event));
    let again = post(&two, "k", &event).await;
    assert_eq!((again.status, &again.json()["offset"]), (202, &json!(1)));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    two.publish("pedido.42", json!({"type": "fin"})).await;
    assert_eq!(ana.event().await, json!({"type": "fin"}));
}

#[tokio::test]
async fn a_key_is_free_again_after_its_window() {
    let server = RedisServer::start();
    let window = format!("{}[api]\nidempotency_window = \"1s\"\n", over(&server));
    let one = Gateway::with(&window).await;
    one.ready().await;
    assert_eq!(post(&one, "k", &json!({"type": "a"})).await.status, 202);
    eventually("the key to be free", async || {
        post(&one, "k", &json!({"type": "b"})).await.status == 202
    })
    .await;
    let keys = server.ask(&["KEYS", "groupcast:once:*"]);
    assert!(keys.contains("groupcast:once:marks:api:django"), "{keys}");
    eventually("nothing to be left", async || {
        !server.ask(&["KEYS", "groupcast:once:*"]).contains("once")
    })
    .await;
}

#[tokio::test]
async fn a_browser_that_uses_up_its_keys_takes_none_of_others() {
    let server = RedisServer::start();
    let bounds = "[limits]\nkeys_per_user = 3\n[api]\nidempotency_keys = 2\n";
    let configuration = format!("{}{bounds}", over(&server));
    let (one, two) = (Gateway::with(&configuration).await, Gateway::with(&configuration).await);
    for gateway in [&one, &two] {
        gateway.ready().await;
    }
    assert_eq!(post(&one, "antes", &json!({"type": "a"})).await.status, 202);
    let (mut here, mut there) = (one.v1("7").await, two.v1("7").await);
    for n in 0..6 {
        let socket = if n % 2 == 0 { &mut here } else { &mut there };
        let answer = socket.ask(send(n, Some(&n.to_string()))).await;
        let expected = if n < 3 { "result" } else { "error" };
        assert_eq!(answer["type"], expected, "{answer}");
        if n >= 3 {
            assert_eq!((&answer["code"], &answer["retry"]), (&json!("limited"), &json!(true)));
        }
    }
    let unkeyed = there.ask(send(7, None)).await;
    assert_eq!(unkeyed["type"], "result", "{unkeyed}");
    let other_user = two.v1("8").await.ask(send(1, Some("k"))).await;
    assert_eq!(other_user["type"], "result", "{other_user}");

    let known = post(&two, "antes", &json!({"type": "a"})).await;
    assert_eq!(known.header("idempotency-replayed"), Some("true"), "it was not pushed out");
    assert_eq!(post(&two, "segundo", &json!({"type": "a"})).await.status, 202);
    let full = post(&one, "tercero", &json!({"type": "a"})).await;
    assert_eq!((full.status, &full.json()["code"]), (429, &json!("too_many_idempotency_keys")));
    assert_eq!(full.header("retry-after"), Some("1"));
    let known = post(&one, "segundo", &json!({"type": "a"})).await;
    assert_eq!(known.header("idempotency-replayed"), Some("true"), "a full scope forgets nothing");
}

#[tokio::test]
async fn a_batch_repeated_at_another_instance_is_published_once() {
    let server = RedisServer::start();
    let (one, two) = (gateway(&server).await, gateway(&server).await);
    let mut ana = one.v1("ana").await;
    ana.ask(json!({"type": "join", "groups": ["pedido.42", "sala_1"]})).await;
    let item = |n: u64| json!({"groups": ["pedido.42", "sala_1"], "event": {"type": "a", "n": n}});
    let mut publications = vec![item(1), item(2), item(3)];
    publications[1]["key"] = "propia".into();
    let batch = json!({"publications": publications}).to_string();
    let key = ["Idempotency-Key: lote-1"];
    let first = one.ask("POST /batch", &key, &batch).await;
    assert_eq!(first.status, 202, "{}", first.body);
    let again = two.ask("POST /batch", &key, &batch).await;
    assert_eq!(again.status, 202, "{}", again.body);
    let (first, again) = (first.json(), again.json());
    for (before, after) in
        first["results"].as_array().unwrap().iter().zip(again["results"].as_array().unwrap())
    {
        assert_eq!((&before["id"], &before["offset"]), (&after["id"], &after["offset"]));
        assert_eq!((&before["repeated"], &after["repeated"]), (&Value::Null, &json!(true)));
    }
    for group in ["pedido.42", "sala_1"] {
        one.publish(group, json!({"type": "a", "n": "fin"})).await;
    }
    // There is no order between groups.
    let mut received = BTreeMap::<String, Vec<Value>>::new();
    for _ in 0..8 {
        let frame = ana.frame().await;
        let group = frame["group"].as_str().expect("an event of a group").to_owned();
        received.entry(group).or_default().push(frame["data"]["n"].clone());
    }
    let all = json!([1, 2, 3, "fin"]);
    assert_eq!(json!(received), json!({"pedido.42": all, "sala_1": all}));
}

#[tokio::test]
async fn a_full_redis_refuses_what_has_a_key_and_sends_nothing_of_it() {
    let server = RedisServer::start();
    let one = gateway(&server).await;
    let mut ana = one.v1("ana").await;
    ana.join("sala_1").await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = post_to(&one, "sala_1", "k", &json!({"type": "a"})).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.body.contains("OOM"), "{}", refused.body);
    one.publish("sala_1", json!({"type": "sin clave"})).await;
    assert_eq!(ana.event().await, json!({"type": "sin clave"}));
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    let sent = post_to(&one, "sala_1", "k", &json!({"type": "b"})).await;
    assert_eq!(sent.status, 202, "the refused one has not used the key: {}", sent.body);
    assert_eq!(ana.event().await, json!({"type": "b"}));
}

#[tokio::test]
async fn after_a_failover_a_repetition_is_published_again_under_its_first_id() {
    let server = RedisServer::start();
    let one = gateway(&server).await;
    let event = json!({"type": "pago"});
    let first = post(&one, "k", &event).await.json();
    let generation = |answer: &Value| {
        answer["epoch"].as_str().and_then(|epoch| epoch.split('.').next()).map(str::to_owned)
    };
    // What a server that takes over with the data is to the gateway.
    server.ask(&["HSET", "groupcast:gen", "run", "another"]);
    eventually("the new generation", async || {
        let answer = post_to(&one, "pedido.1", "sonda", &json!({"type": "a"})).await;
        answer.status == 202 && generation(&answer.json()) != generation(&first)
    })
    .await;
    let mut ana = one.v1("ana").await;
    ana.ask(json!({"type": "join", "groups": ["pedido.42"]})).await;
    let again = post(&one, "k", &event).await;
    assert_eq!((again.status, &again.json()["id"]), (202, &first["id"]));
    assert_ne!(again.json()["epoch"], first["epoch"]);
    assert_eq!(again.header("idempotency-replayed"), None, "nobody knows who has received it");
    assert_eq!(ana.event().await, event);
    let other = post(&one, "k", &json!({"type": "otro"})).await;
    assert_eq!(other.status, 422);
    let known = post(&one, "k", &event).await;
    assert_eq!(known.json(), again.json());
    assert_eq!(known.header("idempotency-replayed"), Some("true"));
}
