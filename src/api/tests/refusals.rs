//! Every refusal is a problem that names the cause.

use super::*;

const AVISO: &str = r#"{"type":"aviso"}"#;

#[tokio::test]
async fn answers_401_to_a_missing_or_unknown_key() {
    let mut gateway = gateway().await;
    let bare = |header: Option<&str>| {
        let mut builder = Request::builder().method("POST").uri("/users/7/send");
        if let Some(header) = header {
            builder = builder.header("authorization", header);
        }
        builder.body(Body::from(AVISO)).expect("a legal request")
    };
    let answer = gateway.call(bare(None)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (401, "key_missing"));
    assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer realm="groupcast""#));
    for wrong in ["Bearer", "Bearer ", "Bearer nobody-nobody-nobody", "Basic c2hvcDo=", SHOP] {
        let answer = gateway.call(bare(Some(wrong))).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (401, "key_unknown"), "{wrong}");
        let challenge = r#"Bearer realm="groupcast", error="invalid_token""#;
        assert_eq!(answer.header("www-authenticate"), Some(challenge));
        assert!(!answer.json.to_string().contains("nobody"), "the key is not repeated");
    }
    assert!(gateway.is_untouched());
    let lower = gateway.call(bare(Some(&format!("bearer {SHOP}")))).await;
    assert_eq!(lower.status, StatusCode::ACCEPTED, "schemes are compared without case");
    let text = gateway.metrics.render();
    assert!(text.contains(r#"auth_failures_total{cause="api_key"} 5"#), "{text}");
}

#[tokio::test]
async fn names_the_permission_that_a_key_lacks() {
    let mut gateway = gateway().await;
    let cases = [
        (
            ORDERS,
            "POST",
            "/groups/sala_1/send",
            "key \"orders\" lacks the right 'send' on group sala_1",
        ),
        (
            AUDIT,
            "POST",
            "/groups/pedido.42/send",
            "key \"audit\" lacks the right 'send' on group pedido.42",
        ),
        (ORDERS, "POST", "/users/7/send", "key \"orders\" lacks the right 'send_user'"),
        (
            ORDERS,
            "POST",
            "/connections/k3f5a2bq-1/send",
            "key \"orders\" lacks the right 'send_user'",
        ),
        (ORDERS, "POST", "/users/7/close", "key \"orders\" lacks the right 'close'"),
        (ORDERS, "POST", "/connections/k3f5a2bq-1/close", "key \"orders\" lacks the right 'close'"),
        (ORDERS, "POST", "/broadcast", "key \"orders\" lacks the right 'send_all'"),
        (
            AUDIT,
            "PUT",
            "/groups/pedido.42/members/user:7",
            "key \"audit\" lacks the right 'members' on group pedido.42",
        ),
        (
            ORDERS,
            "DELETE",
            "/groups/sala_1/members/user:7",
            "key \"orders\" lacks the right 'members' on group sala_1",
        ),
        (AUDIT, "GET", "/groups/sala_1", "key \"audit\" lacks the right 'read' on group sala_1"),
    ];
    for (key, method, path, detail) in cases {
        let request = request_of(key, method, path).body(AVISO.into()).expect("legal");
        let answer = gateway.call(request).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "forbidden"), "{path}");
        assert_eq!(answer.json["detail"], detail);
    }
    assert!(gateway.is_untouched());
}

#[tokio::test]
async fn answers_unknown_paths_and_methods_with_a_problem() {
    let gateway = gateway().await;
    for path in ["/", "/groups", "/groups/a/b/c", "/send", "/users/7/send/", "/GROUPS/a"] {
        let answer = gateway.call(post(path, AVISO)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"), "{path}");
    }
    for (method, path, allow) in [
        ("GET", "/users/7/send", "POST"),
        ("TRACE", "/groups/a/send", "POST"),
        ("BREW", "/groups/a", "GET,HEAD"),
        ("POST", "/groups/a/members/user:7", "PUT,DELETE"),
    ] {
        let answer = gateway.call(empty(request(method, path))).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (405, "method_not_allowed"), "{path}");
        assert_eq!(answer.header("allow"), Some(allow));
    }
}

#[tokio::test]
async fn refuses_an_illegal_name_with_its_cause() {
    let gateway = gateway().await;
    let long = format!("/groups/{}/send", "g".repeat(100));
    let sub = format!("/users/{}/send", "7".repeat(256));
    for (path, status, code, words) in [
        ("/groups/a%20b/send", 422, "bad_group", "group name \"a b\" holds ' '"),
        ("/groups/ni%C3%B1o/send", 422, "bad_group", "holds 'ñ'"),
        ("/groups//send", 422, "bad_group", "group name is empty"),
        ("/users//send", 422, "bad_member", "sub is empty"),
        (&long, 422, "bad_group", "100 bytes; at most 99"),
        (&sub, 422, "bad_member", "256 bytes; at most 255"),
        ("/users/a%00b/send", 422, "bad_member", "control character"),
        ("/connections/user:7/send", 422, "bad_member", "'<instance>-<number>'"),
        ("/groups/%FF/send", 400, "bad_path", "UTF-8"),
        ("/users/%C3%28/send", 400, "bad_path", "UTF-8"),
    ] {
        let answer = gateway.call(post(path, AVISO)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{path}");
        assert!(answer.detail().contains(words), "{path}: {}", answer.json);
    }
}

#[tokio::test]
async fn refuses_an_unknown_or_malformed_query_parameter() {
    let gateway = gateway().await;
    let many = vec!["except=user:7"; 101].join("&");
    for (query, status, code, words) in [
        ("expiry=5000", 400, "bad_query", "expected 'expiry_ms' or 'except'"),
        ("expiry_ms=0", 400, "bad_query", "expiry_ms is 0; 1 to 86400000"),
        ("expiry_ms=86400001", 400, "bad_query", "1 to 86400000 are allowed"),
        ("expiry_ms=1.5", 400, "bad_query", "must be a whole number"),
        ("expiry_ms", 400, "bad_query", "must be a whole number"),
        ("expiry_ms=1&expiry_ms=1", 400, "bad_query", "twice"),
        ("except=%zz", 400, "bad_query", "percent-encoded"),
        ("except=%4", 400, "bad_query", "percent-encoded"),
        ("except=%FF", 400, "bad_query", "percent-encoded"),
        ("except=7", 422, "bad_member", "not 'user:<sub>' either"),
        ("except=user:", 422, "bad_member", "sub is empty"),
        (&many, 422, "bad_member", "101; at most 100"),
    ] {
        let answer = gateway.call(post(&format!("/users/7/send?{query}"), AVISO)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{query}");
        assert!(answer.detail().contains(words), "{query}: {}", answer.json);
    }
}

#[tokio::test]
async fn refuses_a_malformed_event_with_the_error_of_its_check() {
    let mut gateway = gateway().await;
    let deep = format!(r#"{{"type":"aviso","a":{}{}}}"#, "[".repeat(32), "]".repeat(32));
    let cases: [&[u8]; 9] = [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"{\"type\":7}",
        b"{\"type\":\"a\",\"type\":\"b\"}",
        b"{\"type\":\"a\xff\"}",
        b"{\"type\":\"a\"} {}",
        deep.as_bytes(),
    ];
    for case in cases {
        let expected = crate::event::Event::parse(bytes::Bytes::copy_from_slice(case));
        let expected = expected.expect_err("no event").to_string();
        let answer = gateway.call(post("/groups/sala_1/send", case.to_vec())).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (422, "bad_event"));
        assert_eq!(answer.json["detail"], expected);
    }
    assert!(gateway.is_untouched());
}

#[tokio::test]
async fn refuses_a_body_with_another_content_type() {
    let gateway = gateway().await;
    for (name, value) in [
        ("content-type", "text/xml"),
        ("content-type", "application/jsonp"),
        ("content-type", "multipart/form-data; boundary=x"),
        ("content-encoding", "gzip"),
    ] {
        let request = request("POST", "/users/7/send").header(name, value).body(AVISO.into());
        let answer = gateway.call(request.expect("legal")).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (415, "not_json"), "{name}: {value}");
    }
}

#[tokio::test]
async fn refuses_a_malformed_idempotency_key() {
    let gateway = gateway().await;
    let long = "k".repeat(256);
    for (keys, status, code) in [
        (&[""][..], 422, "bad_idempotency_key"),
        (&[&long], 422, "bad_idempotency_key"),
        (&["a", "b"], 400, "bad_header"),
    ] {
        let mut builder = request("POST", "/users/7/send");
        for key in keys {
            builder = builder.header("idempotency-key", *key);
        }
        let answer = gateway.call(builder.body(AVISO.into()).expect("legal")).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{keys:?}");
    }
}
