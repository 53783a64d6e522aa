//! Malformed events and illegal names are refused with the reason, by the API and by `send`.

use serde_json::json;

use crate::support::{API_SECRET, Gateway, Raw};

fn deep(levels: usize) -> String {
    format!(r#"{{"type":"x","a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels))
}

/// Malformed events, and a text that the refusal must contain.
fn malformed_events() -> Vec<(String, &'static str)> {
    let mut all = vec![
        ("", "begins with"),
        ("[]", "begins with \"[]\""),
        ("\"type\"", "begins with"),
        ("null", "begins with"),
        ("{}", "no \"type\""),
        (r#"{"tipo":"x"}"#, "no \"type\""),
        (r#"{"type":1}"#, "type 1"),
        (r#"{"type":""}"#, "1 to"),
        (r#"{"type":null}"#, "type null"),
        (r#"{"type":"x","a":1,"a":2}"#, "\"a\" twice"),
        (r#"{"type":"x","type":"y"}"#, "\"type\" twice"),
        (r#"{"type":"x","\u0061":1,"a":2}"#, "\"a\" twice"),
        (r#"{"type":"x","b":[{"c":1,"c":1}]}"#, "\"c\" twice"),
        (r#"{"type":"x""#, "not JSON"),
        (r#"{"type":"x"} {}"#, "not JSON"),
        (r#"{"type":"x","a":NaN}"#, "not JSON"),
        (r#"{'type':'x'}"#, "not JSON"),
    ]
    .into_iter()
    .map(|(event, word)| (event.to_owned(), word))
    .collect::<Vec<_>>();
    all.push((deep(32), "deeper than 32"));
    all.push((deep(5000), "deeper than 32"));
    all.push((format!(r#"{{"type":"{}"}}"#, "x".repeat(300)), "1 to"));
    all
}

#[tokio::test]
async fn the_api_refuses_each_malformed_event_with_its_reason() {
    let gateway = Gateway::start().await;
    let mut witness = gateway.v1("testigo").await;
    for (event, word) in malformed_events() {
        let answer = gateway.ask("POST /groups/usuario_testigo/send", &[], &event).await;
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (422, &json!("bad_event")), "{event:.60}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem} lacks {word}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        gateway.still_serves(&mut witness).await;
    }
}

#[tokio::test]
async fn a_browsers_send_refuses_each_malformed_event_with_its_reason() {
    let gateway = Gateway::start().await;
    let mut witness = gateway.v1("testigo").await;
    let mut socket = gateway.v1("7").await;
    // Invalid JSON is not a frame either, and closes the connection: see bad_frames.
    for (event, word) in
        malformed_events().iter().filter(|(event, word)| !event.is_empty() && *word != "not JSON")
    {
        socket
            .send_text(&format!(r#"{{"type":"send","id":1,"group":"sala_1","data":{event}}}"#))
            .await;
        let answer = socket.frame().await;
        assert_eq!(
            (&answer["id"], &answer["code"]),
            (&json!(1), &json!(code_of(event))),
            "{event:.60}"
        );
        assert!(
            word == &"begins with" || answer["message"].as_str().unwrap().contains(word),
            "{answer}"
        );
        gateway.still_serves(&mut witness).await;
    }
    let sent = socket.ask(json!({"type": "send", "group": "sala_1", "data": {"type": "x"}})).await;
    assert_eq!(sent["type"], "result", "the connection goes on");
}

/// A member that is `null` counts as absent.
fn code_of(event: &str) -> &'static str {
    if event == "null" { "bad_request" } else { "invalid_event" }
}

#[tokio::test]
async fn refuses_an_event_over_the_limit_and_delivers_one_at_the_limit() {
    let gateway = Gateway::with("[limits]\nmax_event_bytes = \"1KiB\"\n").await;
    let mut witness = gateway.v1("testigo").await;
    let empty = json!({"type": "x", "a": ""}).to_string().len();
    let sized = |size: usize| json!({"type": "x", "a": "a".repeat(size - empty)});
    for size in [1025, 2000, 100_000] {
        let body = sized(size).to_string();
        let answer = gateway.ask("POST /groups/usuario_testigo/send", &[], &body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (413, &json!("too_large")), "{size}");
        gateway.still_serves(&mut witness).await;
    }
    let mut socket = gateway.v1("7").await;
    let send = json!({"type": "send", "group": "sala_1", "data": sized(1025)});
    assert_eq!(socket.ask(send).await["code"], "too_large");
    gateway.publish("usuario_testigo", sized(1024)).await;
    assert_eq!(witness.event().await, sized(1024));
}

#[tokio::test]
async fn refuses_a_body_over_the_limit_before_reading_it() {
    let gateway = Gateway::start().await;
    let mut witness = gateway.v1("testigo").await;
    let headers =
        ["Content-Type: application/json", "Content-Length: 1000000000", "Expect: 100-continue"];
    let bearer = format!("Authorization: Bearer {}", API_SECRET);
    let mut head = "POST /groups/a/send HTTP/1.1\r\nHost: x\r\n".to_owned();
    for header in headers.iter().chain([&bearer.as_str()]) {
        head.push_str(&format!("{header}\r\n"));
    }
    let mut raw = Raw::connect(gateway.api).await;
    raw.write((head + "\r\n").as_bytes()).await;
    assert_eq!(raw.answer().await.status, 413);
    gateway.still_serves(&mut witness).await;
}

#[tokio::test]
async fn refuses_an_illegal_group_name_and_states_what_is_allowed() {
    let gateway = Gateway::start().await;
    let mut witness = gateway.v1("testigo").await;
    let long = "x".repeat(100);
    for (name, shown) in
        [("a%20b", "a b"), ("%C3%B1", "ñ"), (&*long, "99"), ("a%2Fb", "/"), ("a*", "*")]
    {
        let event = json!({"type": "x"}).to_string();
        let answer = gateway.ask(&format!("POST /groups/{name}/send"), &[], &event).await;
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (422, &json!("bad_group")), "{name}");
        assert!(problem["detail"].as_str().unwrap().contains(shown), "{problem}");
        gateway.still_serves(&mut witness).await;
    }
}
