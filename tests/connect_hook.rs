//! The connect hook identifies browsers: few requests, cached answers, periodic confirmation.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{BackEnd, Gateway, Received, RedisServer, Socket, eventually, soon, token};

const ROUTES: &str = r#"
[connections]
per_user = 1000
retry_window = "1s"
[auth]
allowed_origins = ["https://panel.example"]
[[grant]]
calls = ["eco"]
[[route]]
path = "/ws"
join = ["aviso_{sub}"]
[[route]]
path = "/ws/chat/{sala}/{lado}/"
join = ["chat_{sala}"]
allow = "hook"
"#;

const COOKIE: (&str, &str) = ("Cookie", "sessionid=7");

const V1: (&str, &str) = ("Sec-WebSocket-Protocol", "groupcast.v1.json");

async fn start() -> (BackEnd, Gateway) {
    start_with("").await
}

async fn start_with(more: &str) -> (BackEnd, Gateway) {
    let back_end = BackEnd::start();
    let gateway = Gateway::with(&format!("{}{ROUTES}", back_end.configuration(more))).await;
    (back_end, gateway)
}

/// A v1 client with these headers that has sent a hello without a token.
async fn hello(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Socket {
    let headers: Vec<_> = headers.iter().copied().chain([V1]).collect();
    let mut socket = Socket::open(gateway.public, path, &headers).await;
    socket.send(json!({"type": "hello"})).await;
    socket
}

fn groups(welcome: &Value) -> Vec<&str> {
    let groups = welcome["groups"].as_array().unwrap();
    groups.iter().map(|group| group["group"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_session_cookie_alone_authenticates_a_browser() {
    let (back_end, gateway) = start().await;
    back_end.control(json!({"answer": {"welcome": {"type": "hola", "n": 1}}})).await;
    let mut v1 = hello(&gateway, "/ws", &[("Cookie", "sessionid=7")]).await;
    let welcome = v1.welcome().await;
    assert_eq!(groups(&welcome), ["usuario_7", "aviso_7"], "the answer's, then the route's");
    assert!(welcome.get("expires_in").is_none(), "the client has nothing to renew");
    let mut plain = Socket::open(gateway.public, "/ws", &[("Cookie", "sessionid=7")]).await;
    assert_eq!(plain.frame().await, json!({"type": "hola", "n": 1}), "the welcome comes first");
    gateway.publish("usuario_7", json!({"type": "x"})).await;
    assert_eq!(plain.frame().await, json!({"type": "x"}));
    assert_eq!(v1.event().await, json!({"type": "x"}));
}

#[tokio::test]
async fn the_hook_receives_the_browsers_headers_path_and_parameters() {
    let (back_end, gateway) = start_with("headers = { \"X-Site\" = \"uno\" }").await;
    let headers = [
        ("Cookie", "sessionid=7; tema=oscuro"),
        ("Authorization", "Basic abc"),
        ("Origin", "https://panel.example"),
        ("User-Agent", "Navegador/1"),
        ("Accept-Language", "es"),
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Otra", "no se pasa"),
    ];
    let mut socket = hello(&gateway, "/ws/chat/lobby/a~b+c/", &headers).await;
    let connection = socket.welcome().await["connection"].take();
    hello(&gateway, "/ws", &[("Cookie", "sessionid=8")]).await.welcome().await;
    let hooks = back_end.received().await["hooks"].take();
    assert_eq!(hooks[0]["target"], "/groupcast/connect?sala=lobby&lado=a~b%2Bc");
    let sent = hooks[0]["headers"].as_object().unwrap();
    let header = |name: &str| {
        let found = sent.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str().unwrap())
    };
    for (name, value) in &headers[..7] {
        assert_eq!(header(name), Some(*value), "{name}");
    }
    assert_eq!(header("x-otra"), None);
    assert_eq!(header("x-site"), Some("uno"), "what the configuration adds");
    assert_eq!(header("host"), Some(&*gateway.public.to_string()), "the browser's");
    assert_eq!(header("groupcast-path"), Some("/ws/chat/lobby/a~b+c/"));
    assert_eq!(header("groupcast-connection"), connection.as_str());
    assert_eq!(hooks[1]["headers"]["x-forwarded-for"], "127.0.0.1", "the peer, without a proxy");
    assert_eq!(hooks[1]["headers"]["x-forwarded-proto"], "http");
}

#[tokio::test]
async fn a_refusal_of_the_hook_closes_with_its_code() {
    let (back_end, gateway) = start().await;
    let outcome = async |cookie: &str| {
        let mut socket = Socket::open(gateway.public, "/ws", &[("Cookie", cookie)]).await;
        socket.closed().await
    };
    assert_eq!(outcome("tema=oscuro").await, (4401, json!({"reason": "not logged in"})));
    assert_eq!(outcome("sessionid=prohibido").await, (4403, json!({"reason": "not allowed"})));
    assert_eq!(outcome("sessionid=prohibido").await.0, 4403);
    assert_eq!(
        back_end.received().await["hooks"].as_array().unwrap().len(),
        2,
        "refusals are cached"
    );
    back_end.control(json!({"status": 302, "location": "/login"})).await;
    let (code, reason) = outcome("sessionid=9").await;
    let expected = json!({"reason": "temporarily unavailable", "retry_ms": 1000});
    assert_eq!((code, reason), (4503, expected));
    assert_eq!(gateway.metric(r#"groupcast_refusals_total{reason="backend"}"#).await, 1.0);
    assert_eq!(gateway.metric(r#"groupcast_auth_failures_total{cause="hook"}"#).await, 3.0);
    // A failed request is not cached.
    back_end.control(json!({})).await;
    hello(&gateway, "/ws", &[("Cookie", "sessionid=9")]).await.welcome().await;
}

#[tokio::test]
async fn refuses_pages_of_other_origins_without_asking_the_hook() {
    let (back_end, gateway) = start().await;
    let headers = [("Cookie", "sessionid=7"), ("Origin", "https://evil.example")];
    let mut socket = hello(&gateway, "/ws", &headers).await;
    assert_eq!(socket.closed().await, (4403, json!({"reason": "origin not allowed"})));
    assert_eq!(back_end.received().await["hooks"], json!([]));
}

#[tokio::test]
async fn a_token_takes_precedence_over_the_hook_except_on_routes_that_require_it() {
    let (back_end, gateway) = start().await;
    let cookie = [("Cookie", "sessionid=7"), V1];
    let mut socket = Socket::open(gateway.public, "/ws", &cookie).await;
    socket.hello(&token("8")).await;
    assert_eq!(groups(&socket.welcome().await), ["aviso_8"]);
    let bearer = format!("Bearer {}", token("8"));
    let wrong = [("Cookie", "sessionid=7"), ("Authorization", "Bearer falso")];
    assert_eq!(
        hello(&gateway, "/ws", &wrong).await.closed().await.0,
        4401,
        "the hook is not asked instead"
    );
    assert_eq!(back_end.received().await["hooks"], json!([]));
    let headers = [("Authorization", bearer.as_str())];
    let mut socket = Socket::open(gateway.public, "/ws/chat/lobby/a/", &headers).await;
    assert_eq!(socket.closed().await.0, 4401, "the hook knows no session");
    let mut socket = Socket::open(gateway.public, "/ws/chat/lobby/a/", &cookie).await;
    socket.hello(&token("8")).await;
    assert_eq!(
        groups(&socket.welcome().await),
        ["usuario_7", "chat_lobby"],
        "as the hook answered"
    );
}

#[tokio::test]
async fn calls_carry_the_identity_that_the_hook_returned() {
    let (back_end, gateway) = start().await;
    let claims = json!({"empresa": "acme", "niveles": [1, 2]});
    back_end.control(json!({"answer": {"claims": claims, "session": "s-1"}})).await;
    let mut socket = hello(&gateway, "/ws", &[("Cookie", "sessionid=7")]).await;
    socket.welcome().await;
    let mut answer = socket.ask(json!({"type": "call", "name": "eco"})).await;
    let body = answer["data"]["body"].take();
    let caller = (&body["sub"], &body["claims"], &body["session"]);
    assert_eq!(caller, (&json!("7"), &claims, &json!("s-1")));
    let auth = socket.ask(json!({"type": "auth", "token": token("7")})).await;
    assert_eq!(auth["code"], "unauthorized", "the identity is the hook's, not a token's");
}

#[tokio::test]
async fn asks_once_about_five_hundred_tabs_of_one_session() {
    let (back_end, gateway) = start().await;
    back_end.control(json!({"hold": true})).await;
    let mut tabs = JoinSet::new();
    for _ in 0..500 {
        let to = gateway.public;
        tabs.spawn(async move {
            let mut socket = Socket::open(to, "/ws", &[("Cookie", "sessionid=7"), V1]).await;
            socket.send(json!({"type": "hello"})).await;
            socket.welcome().await;
            socket
        });
    }
    gateway.metric_reaches(r#"groupcast_hooks_total{source="shared"}"#, 499.0).await;
    back_end.control(json!({})).await;
    let tabs = tabs.join_all().await;
    hello(&gateway, "/ws", &[("Cookie", "sessionid=7")]).await.welcome().await;
    assert_eq!(back_end.received().await["hooks"].as_array().unwrap().len(), 1);
    assert_eq!(gateway.metric(r#"groupcast_hooks_total{source="cached"}"#).await, 1.0);
    drop(tabs);
}

#[tokio::test]
async fn asks_about_at_most_four_of_two_thousand_sessions_at_once() {
    let (back_end, gateway) = start().await;
    back_end.control(json!({"answer": {"welcome": {"type": "hola"}}})).await;
    let mut people = JoinSet::new();
    for n in 0..2000 {
        let to = gateway.public;
        people.spawn(async move {
            let cookie = format!("sessionid={n}");
            let headers = [("Cookie", cookie.as_str())];
            // Clients back off. Otherwise 2,000 simultaneous reconnections use the whole machine
            // for handshakes, and the requests to the back end stall.
            let mut back_off = Duration::from_millis(200 + n % 800);
            loop {
                let opened = soon("a handshake", Socket::try_open(to, "/ws", &headers)).await;
                // All come from one address, and some lose their places to others.
                if let Some(mut socket) = opened {
                    match socket.next().await {
                        Received::Text(_) => return socket,
                        Received::Close(4503, _) => {}
                        other => panic!("{other:?}"),
                    }
                }
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(Duration::from_secs(4));
            }
        });
    }
    let people = people.join_all().await;
    let received = back_end.received().await;
    assert_eq!(received["most"], 4);
    assert_eq!(received["hooks"].as_array().unwrap().len(), 2000, "each was asked about once");
    drop(people);
}

#[tokio::test]
async fn opens_the_circuit_breaker_when_the_back_end_fails_and_closes_it_when_it_recovers() {
    let (back_end, gateway) = start().await;
    back_end.control(json!({"status": 500})).await;
    let outcome = async |n: u32| {
        let cookie = format!("sessionid={n}");
        let mut socket = Socket::open(gateway.public, "/ws", &[("Cookie", &cookie), V1]).await;
        socket.send(json!({"type": "hello"})).await;
        socket.next().await
    };
    for n in 0..20 {
        assert!(matches!(outcome(n).await, Received::Close(4503, _)));
    }
    let asked = back_end.received().await["hooks"].as_array().unwrap().len();
    assert!(asked < 10, "{asked} of 20 were asked: the rest began after five");
    assert_eq!(gateway.metric("groupcast_hook_breaks_total").await, 1.0);
    back_end.control(json!({})).await;
    eventually("the back end to be used again", async || {
        matches!(outcome(7).await, Received::Text(_))
    })
    .await;
    assert!(matches!(outcome(8).await, Received::Text(_)), "the breaker is closed again");
}

#[tokio::test]
async fn closes_a_logged_out_user_at_the_next_confirmation() {
    let (back_end, gateway) = start_with("recheck = \"1s\"").await;
    let mut v1 = hello(&gateway, "/ws", &[("Cookie", "sessionid=7")]).await;
    v1.welcome().await;
    back_end.control(json!({"answer": {"groups": ["usuario_7", "promo"]}})).await;
    let joined = json!({"type": "joined", "groups": [{"group": "promo"}], "reason": "grants"});
    assert_eq!(v1.frame().await, joined, "the new identity replaces the old one");
    back_end.control(json!({"answer": {"groups": []}})).await;
    let left = v1.frame().await;
    assert_eq!((&left["type"], &left["reason"]), (&json!("left"), &json!("grants")));
    assert_eq!(left["groups"].as_array().unwrap().len(), 2);
    back_end.control(json!({"status": 403, "body": {"code": "forbidden"}})).await;
    assert_eq!(v1.closed().await.0, 4403);
}

#[tokio::test]
async fn takes_a_refusal_without_a_code_for_a_failure_unless_configured_otherwise() {
    for (setting, code) in [("", 4503), ("bare_refusals = true", 4403)] {
        let (back_end, gateway) = start_with(setting).await;
        back_end.control(json!({"status": 403, "body": {}})).await;
        let mut v1 = hello(&gateway, "/ws", &[COOKIE]).await;
        assert_eq!(v1.closed().await.0, code, "{setting:?}");
    }
}

#[tokio::test]
async fn asks_again_about_a_user_whose_connections_were_closed() {
    let (back_end, gateway) = start_with("recheck = \"1h\"").await;
    let mut v1 = hello(&gateway, "/ws", &[COOKIE]).await;
    v1.welcome().await;
    let answer = gateway.ask("POST /users/7/close?code=4503", &[], "").await;
    assert_eq!(answer.status, 202);
    assert_eq!(v1.closed().await.0, 4503);
    // At once, in the second of the close.
    let mut returned = hello(&gateway, "/ws", &[COOKIE]).await;
    returned.welcome().await;
    let asked = back_end.received().await["hooks"].as_array().unwrap().len();
    assert_eq!(asked, 2, "the cached answer is not used");
    let answer = gateway.ask("POST /users/7/close?code=4503", &[], "").await;
    assert_eq!(answer.status, 202);
    assert_eq!(returned.closed().await.0, 4503);
    back_end.control(json!({"status": 403, "body": {"code": "forbidden"}})).await;
    let mut returned = hello(&gateway, "/ws", &[COOKIE]).await;
    assert_eq!(returned.closed().await.0, 4403, "not by the cached answer");
}

#[tokio::test]
async fn keeps_connections_while_their_identity_is_valid_though_the_back_end_fails() {
    let (back_end, gateway) = start_with("recheck = \"1s\"").await;
    let mut lasting = hello(&gateway, "/ws", &[("Cookie", "sessionid=7")]).await;
    lasting.welcome().await;
    back_end.control(json!({"answer": {"expires_in": 3}})).await;
    let mut ending = Socket::open(gateway.public, "/ws", &[("Cookie", "sessionid=8")]).await;
    gateway.members("aviso_8", 1).await;
    back_end.control(json!({"status": 500})).await;
    let failed = r#"groupcast_hook_seconds_count{outcome="failed"}"#;
    gateway.metric_reaches(failed, 1.0).await;
    let (code, reason) = ending.closed().await;
    let words = "the back end does not confirm who it is";
    assert_eq!((code, &reason["reason"]), (4503, &json!(words)));
    gateway.metric_reaches(failed, 2.0).await;
    gateway.publish("usuario_7", json!({"type": "x"})).await;
    assert_eq!(lasting.event().await, json!({"type": "x"}));
}

#[tokio::test]
async fn instances_share_hook_answers_and_reject_forged_ones() {
    let (redis, back_end) = (RedisServer::start(), BackEnd::start());
    let layer = format!("[layer]\nkind = \"redis\"\nurl = \"{}\"\n", redis.url());
    let instance =
        async || Gateway::with(&format!("{layer}{}{ROUTES}", back_end.configuration(""))).await;
    let first = instance().await;
    first.ready().await;
    hello(&first, "/ws", &[("Host", "tienda.example"), COOKIE]).await.welcome().await;
    let cached = async || redis.ask(&["KEYS", "groupcast:note:hook:*"]);
    eventually("the answer to be shared", async || cached().await.starts_with("*1\r\n")).await;
    assert!(!cached().await.contains("sessionid"), "a digest, not the cookie");

    let second = instance().await;
    second.ready().await;
    let mut socket = hello(&second, "/ws", &[("Host", "tienda.example"), COOKIE]).await;
    assert_eq!(groups(&socket.welcome().await), ["usuario_7", "aviso_7"]);
    assert_eq!(second.metric(r#"groupcast_hooks_total{source="recalled"}"#).await, 1.0);
    assert_eq!(back_end.received().await["hooks"].as_array().unwrap().len(), 1);

    let key = cached().await.lines().nth(2).unwrap().to_owned();
    let forged = format!("{}{}", "x".repeat(32), r#"{"at":0,"status":200,"body":"{}"}"#);
    redis.ask(&["HSET", &key, "note", &forged]);
    let third = instance().await;
    third.ready().await;
    hello(&third, "/ws", &[("Host", "tienda.example"), COOKIE]).await.welcome().await;
    assert_eq!(
        back_end.received().await["hooks"].as_array().unwrap().len(),
        2,
        "it asked the hook itself"
    );
}
