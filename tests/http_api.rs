//! The API together with other rooms. Its own responses are tested in `src/api/tests`.

use serde_json::json;

use crate::support::{API_SECRET, Gateway, Received, request, token};

#[tokio::test]
async fn back_ends_and_browsers_have_separate_listeners() {
    let gateway = Gateway::start().await;
    let bearer = format!("Authorization: Bearer {API_SECRET}");
    let event = br#"{"type":"x"}"#;
    let headers = [bearer.as_str(), "Content-Type: application/json"];
    let wrong_listener = request(gateway.public, "POST /groups/a/send", &headers, event).await;
    assert_eq!(wrong_listener.status, 404);
    let answer = request(gateway.api, "GET /ws", &[], b"").await;
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("not_found")));
}

#[tokio::test]
async fn rejects_a_browsers_token_as_api_key_and_counts_wrong_keys() {
    let gateway = Gateway::start().await;
    let mut witness = gateway.v1("testigo").await;
    let event = br#"{"type":"x"}"#;
    for credential in [
        None,
        Some("Bearer ".to_owned()),
        Some(format!("Bearer {}x", API_SECRET)),
        Some(format!("Basic {API_SECRET}")),
        Some(format!("Bearer {}", token("7"))),
    ] {
        let header = credential.map(|value| format!("Authorization: {value}"));
        let headers = header.iter().map(String::as_str).collect::<Vec<_>>();
        let answer =
            request(gateway.api, "POST /groups/usuario_testigo/send", &headers, event).await;
        assert_eq!(answer.status, 401, "{headers:?}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
        gateway.still_serves(&mut witness).await;
    }
    let failures = r#"groupcast_auth_failures_total{cause="api_key"}"#;
    assert!(gateway.metric(failures).await >= 2.0);
}

#[tokio::test]
async fn restricts_an_api_key_to_its_operations_and_groups() {
    let gateway = Gateway::with(
        "[[api.key]]\nname = \"celery\"\nsecret = \"another-secret-entirely\"\n\
         groups = [\"pedido.*\"]\nallow = [\"send\"]\n",
    )
    .await;
    let mut socket = gateway.v1("7").await;
    socket.join("pedido.1").await;
    let headers =
        ["Authorization: Bearer another-secret-entirely", "Content-Type: application/json"];
    let ask =
        async |line: &str| request(gateway.api, line, &headers, br#"{"type":"x"}"#).await.status;
    assert_eq!(ask("POST /groups/pedido.1/send").await, 202);
    assert_eq!(socket.event().await, json!({"type": "x"}));
    for line in [
        "POST /groups/usuario_7/send",
        "POST /users/7/send",
        "POST /broadcast",
        "GET /groups/pedido.1",
        "GET /users/7",
        "PUT /groups/pedido.1/members/user:7",
        "DELETE /groups/pedido.1/members/user:7",
    ] {
        assert_eq!(ask(line).await, 403, "{line}");
    }
    gateway.publish("usuario_7", json!({"type": "fin"})).await;
    assert_eq!(socket.event().await, json!({"type": "fin"}), "none of the refused events arrived");
}

#[tokio::test]
async fn reports_why_a_user_did_not_receive_an_event() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1_silent("/ws").await;
    socket.hello(&token("7")).await;
    let id = socket.welcome().await["connection"].clone();
    gateway.publish("usuario_7", json!({"type": "x"})).await;
    socket.event().await;
    let group = gateway.ask("GET /groups/usuario_7", &[], "").await.json();
    assert_eq!((&group["connections"], &group["sent"]), (&json!(1), &json!(1)), "{group}");
    let user = gateway.ask("GET /users/7", &[], "").await.json();
    let connection = &user["connections"][0];
    assert_eq!((&connection["id"], &connection["groups"]), (&id, &json!(["usuario_7"])));
    assert_eq!(connection["protocol"], "groupcast.v1.json");
    assert_eq!((&connection["sent"], &connection["waiting"]), (&json!(1), &json!(0)));
    assert_eq!(socket.close(3007).await, Received::Close(3007, String::new()));
    gateway.members("usuario_7", 0).await;
    let user = gateway.ask("GET /users/7", &[], "").await.json();
    assert_eq!(user["last_close"], 3007);
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_names_the_items_it_refuses() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.v1("7").await;
    socket.join("sala_1").await;
    let batch = json!({"publications": [
        {"groups": ["usuario_7", "sala_1"], "event": {"type": "a"}},
        {"groups": ["no va"], "event": {"type": "b"}},
        {"groups": ["sala_1"], "event": {"tipo": "c"}},
        {"groups": ["sala_1"], "event": {"type": "d"}, "except": ["user:8"]},
        {"groups": ["sala_1"], "event": {"type": "e"}, "except": ["user:7"]},
        {"groups": ["sala_1"], "event": {"type": "f"}},
    ]});
    let answer = gateway.ask("POST /batch", &[], &batch.to_string()).await;
    assert_eq!(answer.status, 207, "{}", answer.body);
    let results = answer.json()["results"].as_array().unwrap().clone();
    let refused: Vec<_> = results.iter().map(|r| r["problem"]["code"].as_str()).collect();
    let expected = [None, None, Some("bad_group"), Some("bad_event"), None, None, None];
    assert_eq!(refused, expected);
    for kind in ["a", "a", "d", "f"] {
        assert_eq!(socket.event().await, json!({"type": kind}));
    }
}

#[tokio::test]
async fn health_and_description_require_no_key() {
    let gateway = Gateway::start().await;
    for (path, body) in
        [("/healthz", Some("ok\n")), ("/readyz", Some("ready\n")), ("/openapi.json", None)]
    {
        let answer = request(gateway.api, &format!("GET {path}"), &[], b"").await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(body.is_none_or(|body| answer.body == body), "{}", answer.body);
    }
}
