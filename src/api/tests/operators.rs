//! The console's data over HTTP: who may have it, and what it says of an idle instance.

use super::*;

async fn get(gateway: &Gateway, path: &str) -> Answer {
    gateway.call(empty(request("GET", path))).await
}

#[tokio::test]
async fn shows_the_state_of_an_instance() {
    let gateway = gateway().await;
    let answer = get(&gateway, "/console/snapshot").await;
    assert_eq!(answer.status, StatusCode::OK);
    let snapshot = &answer.json["instances"][0];
    assert_eq!(snapshot["instance"], "k3f5a2bq");
    assert_eq!((&snapshot["connections"], &snapshot["deliveries"]), (&0.into(), &0.0.into()));
    assert_eq!(answer.json["silent"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn refuses_keys_without_the_right() {
    let gateway = gateway().await;
    for path in [
        "snapshot",
        "stream",
        "groups",
        "connections",
        "log",
        "sources",
        "tasks",
        "tap?group=a&reader=1",
    ] {
        let uri = format!("/console/{path}");
        let answer = gateway.call(empty(request_of(AUDIT, "GET", &uri))).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "forbidden"), "{uri}");
        assert!(answer.detail().contains("'console'"), "{}", answer.detail());
    }
}

#[tokio::test]
async fn lists_pages_and_refuses_wrong_parameters() {
    let gateway = gateway().await;
    let answer = get(&gateway, "/console/groups?order=name&search=pedido&rows=10").await;
    assert_eq!(answer.json["groups"], Value::Array(Vec::new()));
    let answer = get(&gateway, "/console/connections?sub=mar%C3%ADa&slow=yes").await;
    assert_eq!(answer.json["connections"], Value::Array(Vec::new()));
    for wrong in [
        "/console/groups?rows=0",
        "/console/groups?rows=201",
        "/console/groups?order=age",
        "/console/groups?limit=5",
        "/console/connections?skip=801",
        "/console/connections?slow=maybe",
        "/console/connections?order=newest&order=oldest",
        "/console/tap?group=a",
        "/console/stream?snapshots=0",
        "/console/log?since=1",
        "/console/sources?language=de",
        "/console/tasks?rows=1",
    ] {
        let answer = get(&gateway, wrong).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::BAD_REQUEST, "bad_query"),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn says_what_is_not_configured() {
    let gateway = gateway().await;
    let answer = get(&gateway, "/console/tasks").await;
    assert_eq!(answer.json, serde_json::json!({"is_configured": false}));
    let answer = get(&gateway, "/console/sources").await;
    assert_eq!(answer.json, serde_json::json!({"findings": [], "poison": [], "parked": []}));
    for path in ["/tasks/a/revoke", "/tasks/a/retry"] {
        let answer = gateway.call(empty(request("POST", path))).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "not_found"), "{path}");
        assert!(answer.detail().contains("[celery]"), "{}", answer.detail());
        let answer = gateway.call(empty(request_of(AUDIT, "POST", path))).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "forbidden"), "{path}");
    }
}

#[tokio::test]
async fn streams_as_many_snapshots_as_asked() {
    let gateway = gateway().await;
    let request = empty(request("GET", "/console/stream?snapshots=2"));
    let response = gateway.router.clone().oneshot(request).await.expect("answered");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let body = to_bytes(response.into_body(), 1 << 20).await.expect("a whole body");
    let text = std::str::from_utf8(&body).expect("UTF-8");
    let events: Vec<_> = text.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 2);
    for event in events {
        let json = event.strip_prefix("data: ").expect("one event");
        let overview: Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(overview["instances"][0]["instance"], "k3f5a2bq");
    }
}

#[tokio::test]
async fn bounds_the_streams_and_gives_their_places_back() {
    let gateway = gateway().await;
    let open = async || {
        let request = empty(request("GET", "/console/stream"));
        gateway.router.clone().oneshot(request).await.expect("answered")
    };
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(open().await);
    }
    assert_eq!(open().await.status(), StatusCode::SERVICE_UNAVAILABLE);
    streams.pop();
    assert_eq!(open().await.status(), StatusCode::OK);
}
