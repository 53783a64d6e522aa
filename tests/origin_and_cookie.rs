//! Tokens in cookies and URLs, where enabled, and the origins that may use a cookie.

use serde_json::{Value, json};

use crate::support::{Gateway, Received, Socket, token};

const COOKIE: &str = r#"
[auth]
cookie = "ws_token"
url_parameter = "token"
allowed_origins = ["https://panel.example"]
"#;

async fn open(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Socket {
    Socket::open(gateway.public, path, headers).await
}

/// Whether a plain connection with these headers is admitted, or else its close.
async fn outcome(gateway: &Gateway, headers: &[(&str, &str)]) -> Result<(), (u16, Value)> {
    let mut socket = open(gateway, "/ws", headers).await;
    match socket.next().await {
        Received::Text(_) => Ok(()),
        Received::Close(code, reason) => Err((code, serde_json::from_str(&reason).unwrap())),
        other => panic!("{other:?}"),
    }
}

/// A gateway that sends plain connections a welcome.
async fn gateway() -> Gateway {
    let route =
        "[[route]]\npath = \"/ws\"\njoin = [\"usuario_{sub}\"]\nwelcome = { type = \"hola\" }\n";
    Gateway::with(&format!("{COOKIE}{route}")).await
}

#[tokio::test]
async fn accepts_a_cookie_from_pages_of_the_same_host_and_of_listed_origins() {
    let gateway = gateway().await;
    let cookie = format!("sessionid=1; ws_token={}; tema=oscuro", token("7"));
    let own = format!("http://{}", gateway.public);
    for origin in [own.as_str(), "https://panel.example"] {
        let headers = [("Cookie", &*cookie), ("Origin", origin)];
        assert_eq!(outcome(&gateway, &headers).await, Ok(()), "{origin}");
    }
    let no_browser = [("Cookie", &*cookie)];
    assert_eq!(
        outcome(&gateway, &no_browser).await,
        Ok(()),
        "a program that is no browser sends no origin"
    );
}

#[tokio::test]
async fn rejects_a_cookie_from_pages_of_other_origins() {
    let gateway = gateway().await;
    let mut witness = gateway.v1("testigo").await;
    let cookie = format!("ws_token={}", token("7"));
    let other_port = format!("http://{}", gateway.api);
    let origins =
        ["https://evil.example", "null", "https://panel.example.evil.example", &other_port];
    for origin in origins {
        let headers = [("Cookie", &*cookie), ("Origin", origin)];
        let expected = Err((4403, json!({"reason": "origin not allowed"})));
        assert_eq!(outcome(&gateway, &headers).await, expected, "{origin}");
        gateway.still_serves(&mut witness).await;
    }
    let failures = r#"groupcast_auth_failures_total{cause="origin"}"#;
    assert_eq!(gateway.metric(failures).await, origins.len() as f64);
}

#[tokio::test]
async fn accepts_a_token_from_pages_of_any_origin() {
    let gateway = gateway().await;
    let (bearer, foreign) = (format!("Bearer {}", token("7")), ("Origin", "https://evil.example"));
    assert_eq!(outcome(&gateway, &[("Authorization", &bearer), foreign]).await, Ok(()));
    let path = format!("/ws?v=1&token={}", token("7"));
    let mut by_url = open(&gateway, &path, &[foreign]).await;
    assert_eq!(by_url.frame().await, json!({"type": "hola"}));
    // The hello's token takes precedence over a cookie, and needs no origin.
    let cookie = format!("ws_token={}", token("8"));
    let offer = ("Sec-WebSocket-Protocol", "groupcast.v1.json");
    let mut v1 = open(&gateway, "/ws", &[offer, foreign, ("Cookie", &cookie)]).await;
    v1.hello(&token("7")).await;
    assert_eq!(v1.welcome().await["groups"], json!([{"group": "usuario_7"}]));
}

#[tokio::test]
async fn a_cookie_authenticates_a_hello_without_a_token() {
    let gateway = gateway().await;
    let cookie = format!("ws_token={}", token("7"));
    let offer = ("Sec-WebSocket-Protocol", "groupcast.v1.json");
    let mut own = open(&gateway, "/ws", &[offer, ("Cookie", &cookie)]).await;
    own.send(json!({"type": "hello"})).await;
    own.welcome().await;
    let foreign = ("Origin", "https://evil.example");
    let mut other = open(&gateway, "/ws", &[offer, ("Cookie", &cookie), foreign]).await;
    other.send(json!({"type": "hello"})).await;
    assert_eq!(other.closed().await.0, 4403);
}
