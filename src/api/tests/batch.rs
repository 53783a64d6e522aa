//! Several events to several groups, each answered for itself.

use serde_json::json;

use super::*;
use crate::event::Target;

fn names(gateway: &mut Gateway) -> Vec<(String, String)> {
    std::iter::from_fn(|| gateway.inbox.try_recv())
        .map(|incoming| match incoming {
            Incoming::Publication(p) => match &p.target {
                Target::Group(group) => {
                    (group.to_string(), String::from_utf8(p.event.json().to_vec()).expect("UTF-8"))
                }
                other => panic!("for a group, not {other:?}"),
            },
            _ => {
                panic!("only publications were sent")
            }
        })
        .collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(group, json)| ((*group).to_owned(), (*json).to_owned())).collect()
}

#[tokio::test]
async fn delivers_a_batch_in_order_and_byte_for_byte() {
    let mut gateway = gateway().await;
    let body = r#"{"publications": [
        {"groups": ["pedido.42", "sala_1"], "event": { "type":"uno", "n":1.10 }},
        {"groups": ["sala_1"], "event": {"type":"dos"}, "expiry_ms": 500.0, "key": null,
         "except": ["user:7"]}
    ]}"#;
    let answer = gateway.call(post("/batch", body)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json);
    let results = answer.json["results"].as_array().expect("results");
    let accepted: Vec<_> = results.iter().map(|r| (&r["publication"], &r["group"])).collect();
    assert_eq!(
        accepted,
        [
            (&json!(0), &json!("pedido.42")),
            (&json!(0), &json!("sala_1")),
            (&json!(1), &json!("sala_1"))
        ]
    );
    assert!(results.iter().all(|r| r["id"].as_str().is_some_and(|id| id.len() == 22)));
    let uno = r#"{ "type":"uno", "n":1.10 }"#;
    let dos = r#"{"type":"dos"}"#;
    assert_eq!(names(&mut gateway), owned(&[("pedido.42", uno), ("sala_1", uno), ("sala_1", dos)]));
}

#[tokio::test]
async fn an_invalid_item_does_not_affect_the_others() {
    let mut gateway = gateway().await;
    let body = r#"{"publications": [
        {"groups": ["pedido.42", "sala_1", "a b"], "event": {"type":"uno"}},
        {"groups": ["pedido.42"], "event": {"kind":"dos"}},
        {"groups": ["pedido.42"], "event": {"type":"tres"}, "expiry_ms": 0},
        {"groups": ["pedido.42"], "event": {"type":"tres"}, "expiry_ms": 0.5},
        {"groups": ["pedido.42"], "event": {"type":"cuatro"}, "except": ["7"]},
        {"groups": ["pedido.42"], "event": {"type":"cinco"}, "key": ""},
        {"groups": ["pedido.42"], "event": {"type":"seis"}}
    ]}"#;
    let builder = request_of(ORDERS, "POST", "/batch").body(body.into());
    let answer = gateway.call(builder.expect("legal")).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    let results = answer.json["results"].as_array().expect("results");
    let codes: Vec<_> = results.iter().map(|r| r["problem"]["code"].as_str()).collect();
    let expected = [
        None,
        Some("forbidden"),
        Some("bad_group"),
        Some("bad_event"),
        Some("bad_batch"),
        Some("bad_batch"),
        Some("bad_member"),
        Some("bad_idempotency_key"),
        None,
    ];
    assert_eq!(codes, expected);
    for result in results {
        assert!(result["id"].is_string() ^ result["problem"].is_object(), "{result}");
    }
    let arrived = owned(&[("pedido.42", r#"{"type":"uno"}"#), ("pedido.42", r#"{"type":"seis"}"#)]);
    assert_eq!(names(&mut gateway), arrived);
}

#[tokio::test]
async fn a_repeated_batch_publishes_nothing_twice_by_its_own_key_or_those_of_its_items() {
    let mut gateway = gateway().await;
    let body = r#"{"publications": [
        {"groups": ["pedido.42", "sala_1"], "event": {"type":"uno"}, "key": "k1"},
        {"groups": ["sala_1"], "event": {"type":"dos"}}
    ]}"#;
    let keyed = || request("POST", "/batch").header("idempotency-key", "b").body(body.into());
    let first = gateway.call(keyed().expect("legal")).await;
    assert_eq!(names(&mut gateway).len(), 3);
    let again = gateway.call(keyed().expect("legal")).await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    for (first, again) in first.json["results"]
        .as_array()
        .expect("results")
        .iter()
        .zip(again.json["results"].as_array().expect("results"))
    {
        assert_eq!(first["id"], again["id"]);
        assert_eq!((&first["repeated"], &again["repeated"]), (&Value::Null, &json!(true)));
    }
    assert_eq!(names(&mut gateway), []);

    gateway.call(post("/batch", body)).await;
    assert_eq!(names(&mut gateway), owned(&[("sala_1", r#"{"type":"dos"}"#)]), "no key of its own");
}

#[tokio::test]
async fn refuses_a_malformed_batch_as_a_whole() {
    let mut gateway = gateway().await;
    let event = r#"{"type":"uno"}"#;
    let many = format!(
        r#"{{"publications":[{{"groups":[{}],"event":{event}}}]}}"#,
        vec![r#""sala_1""#; 1001].join(",")
    );
    for (body, words) in [
        ("", "EOF"),
        ("[]", "expected"),
        (r#"{"publications":[]}"#, "0 pairs of event and group; 1 to 1000"),
        (r#"{"publications":[{"groups":[],"event":{"type":"uno"}}]}"#, "must name a group"),
        (r#"{"publications":[{"groups":["a"]}]}"#, "missing field `event`"),
        (r#"{"publications":[{"groups":["a"],"event":{},"expiry":5}]}"#, "unknown field `expiry`"),
        (&many, "1001 pairs"),
    ] {
        let answer = gateway.call(post("/batch", body.to_owned())).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (422, "bad_batch"), "{}", answer.json);
        assert!(answer.detail().contains(words), "{}", answer.json);
    }
    let huge = format!(r#"{{"publications":[{}]}}"#, " ".repeat(16 * 64 * 1024));
    let answer = gateway.call(post("/batch", huge)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (413, "too_large"));
    assert!(gateway.is_untouched());
}

#[tokio::test]
async fn a_batch_without_room_names_the_first_item_to_repeat() {
    let settings =
        publish::Settings { publish_timeout: Duration::from_millis(20), ..Default::default() };
    let mut gateway = gateway_with(settings, LONG).await;
    let fill = || post("/groups/pedido.42/send", r#"{"type":"relleno"}"#);
    while gateway.call(fill()).await.status == StatusCode::ACCEPTED {}
    let body = r#"{"publications": [
        {"groups": ["sala_1"], "event": {"type":"uno"}},
        {"groups": ["pedido.42"], "event": {"type":"dos"}},
        {"groups": ["sala_1"], "event": {"type":"tres"}}
    ]}"#;
    let answer = gateway.call(post("/batch", body)).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    let codes: Vec<_> = answer.json["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|result| result["problem"]["code"].as_str())
        .collect();
    assert_eq!(codes, [None, Some("busy"), Some("busy")]);
    let _ = gateway.inbox.try_recv();
}
