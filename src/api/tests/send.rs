//! An event arrives unchanged at its target.

use super::*;
use crate::event::Target;

const AVISO: &str = r#"{"type":"aviso"}"#;

fn group(name: &str) -> Target {
    Target::Group(GroupName::parse(name).expect("legal"))
}

#[tokio::test]
async fn publishes_an_event_byte_for_byte() {
    let mut gateway = gateway().await;
    for event in [
        AVISO,
        "{ \"type\" :\t\"aviso\",\n \"total\": 12345678901234567890.123456789012345678901e-5 }",
        r#"{"ñ":"\u00f1 \/ 😀","type":"imagen\u005fprocesada","":[[],{}]}"#,
    ] {
        let sent = format!("\n {event} \r\n");
        let answer = gateway.call(post("/groups/pedido.42/send", sent)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json);
        let publication = gateway.publication();
        assert_eq!(publication.event.json(), event.as_bytes());
        assert_eq!(publication.target, group("pedido.42"));
        assert_eq!(answer.json, serde_json::json!({"id": publication.id.to_string()}));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn publishes_to_a_group_a_user_or_a_connection() {
    let mut gateway = gateway().await;
    let targets = [
        ("/groups/sala_1/send", group("sala_1")),
        ("/users/7/send", Target::User("7".into())),
        ("/users/mar%C3%ADa%2F7/send", Target::User("maría/7".into())),
        ("/users/k3f5a2bq-17/send", Target::User("k3f5a2bq-17".into())),
        (
            "/connections/k3f5a2bq-17/send",
            Target::Connection("k3f5a2bq-17".parse().expect("legal")),
        ),
    ];
    for (path, target) in targets {
        let answer = gateway.call(post(path, AVISO)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}: {}", answer.json);
        assert_eq!(gateway.publication().target, target);
    }
}

#[tokio::test]
async fn takes_expiry_and_exclusions_from_the_query() {
    let mut gateway = gateway().await;
    let query = "expiry_ms=1500&except=k3f5a2bq-17&except=user:k3f5a2bq-18&except=user%3Aa%26b+c";
    let answer = gateway.call(post(&format!("/users/7/send?{query}"), AVISO)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json);
    let publication = gateway.publication();
    assert_eq!(publication.deadline, Some(publication.accepted + Duration::from_millis(1500)));
    assert_eq!(publication.except.connections, ["k3f5a2bq-17".parse().expect("legal")]);
    assert_eq!(publication.except.users, ["k3f5a2bq-18".into(), "a&b c".into()]);

    gateway.call(post("/users/7/send?", AVISO)).await;
    let publication = gateway.publication();
    assert!(publication.deadline.is_none() && publication.except.is_empty());
}

#[tokio::test]
async fn accepts_a_body_without_a_content_type_or_with_the_one_of_curl() {
    let mut gateway = gateway().await;
    let types = [
        None,
        Some("application/json; charset=utf-8"),
        Some("Application/JSON"),
        Some("application/cloudevents+json"),
        Some("application/x-www-form-urlencoded"),
    ];
    for declared in types {
        let mut builder = request("POST", "/users/7/send");
        if let Some(declared) = declared {
            builder = builder.header("content-type", declared);
        }
        let answer = gateway.call(builder.body(AVISO.into()).expect("legal")).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{declared:?}: {}", answer.json);
        gateway.publication();
    }
}

fn keyed(key: &str, name: &str, event: &'static str) -> Request<Body> {
    let builder = request_of(key, "POST", "/groups/pedido.42/send").header("Idempotency-Key", name);
    builder.body(event.into()).expect("a legal request")
}

#[tokio::test]
async fn answers_a_repeated_idempotency_key_with_the_first_response() {
    let mut gateway = gateway().await;
    let first = gateway.call(keyed(SHOP, "k", AVISO)).await;
    let again = gateway.call(keyed(SHOP, "k", AVISO)).await;
    assert_eq!((first.status, &first.json), (again.status, &again.json));
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    gateway.publication();

    let other = gateway.call(keyed(SHOP, "k", r#"{"type":"otro"}"#)).await;
    assert_eq!((other.status.as_u16(), other.code()), (422, "idempotency_key_reused"));
    let of_another = gateway.call(keyed(ORDERS, "k", AVISO)).await;
    assert_eq!(of_another.header("idempotency-replayed"), None);
    gateway.publication();
}

#[tokio::test]
async fn concurrent_requests_with_one_idempotency_key_publish_once() {
    let mut gateway = gateway().await;
    let requests = (0..20).map(|_| gateway.call(keyed(SHOP, "k", AVISO)));
    let answers = futures_util::future::join_all(requests).await;
    let id = gateway.publication().id.to_string();
    for answer in &answers {
        assert_eq!(answer.json["id"], *id);
    }
    let replayed = answers.iter().filter(|a| a.header("idempotency-replayed").is_some());
    assert_eq!(replayed.count(), 19);
}

#[tokio::test]
async fn returns_the_request_id_or_a_new_one() {
    let gateway = gateway().await;
    let builder = request("POST", "/users/7/send").header("x-request-id", "pedido-7");
    let answer = gateway.call(builder.body(AVISO.into()).expect("legal")).await;
    assert_eq!(answer.header("x-request-id"), Some("pedido-7"));
    let mut made = std::collections::HashSet::new();
    for _ in 0..10 {
        let answer = gateway.call(post("/users/7/send", AVISO)).await;
        made.insert(answer.header("x-request-id").expect("made").to_owned());
    }
    assert_eq!(made.len(), 10);
}

#[tokio::test]
async fn replaces_a_request_id_that_is_too_long_or_not_printable() {
    let gateway = gateway().await;
    let long = "x".repeat(20 * 1024);
    for id in [&*long, "", "a b", "a\tb", "a\u{202e}b", "{\"a\":1}"] {
        let builder = request("POST", "/users/7/send").header("x-request-id", id.as_bytes());
        let answer = gateway.call(builder.body(AVISO.into()).expect("legal")).await;
        let number = answer.header("x-request-id").expect("made");
        assert!(number.parse::<u64>().is_ok(), "{number}");
    }
    let twice = request("POST", "/users/7/send").header("x-request-id", "a");
    let twice = twice.header("x-request-id", "b").body(AVISO.into()).expect("legal");
    let answer = gateway.call(twice).await;
    assert!(answer.header("x-request-id").expect("made").parse::<u64>().is_ok());
}

#[tokio::test]
async fn counts_requests_by_path_template_and_status() {
    let gateway = gateway().await;
    gateway.call(post("/groups/sala_1/send", AVISO)).await;
    gateway.call(post("/groups/sala_2/send", AVISO)).await;
    gateway.call(post("/groups/sala_1/send", "{}")).await;
    gateway.call(post("/nowhere", AVISO)).await;
    let text = gateway.metrics.render();
    for (route, status, count) in
        [("/groups/{name}/send", 202, 2), ("/groups/{name}/send", 422, 1), ("none", 404, 1)]
    {
        let line = text.lines().find(|line| {
            line.contains("http_requests_total{")
                && line.contains(&format!("route=\"{route}\""))
                && line.contains(&format!("status=\"{status}\""))
        });
        assert_eq!(line.and_then(|l| l.rsplit(' ').next()), Some(&*count.to_string()), "{text}");
    }
}
