//! Tokens that are not accepted: 4401 for the client, the cause in the log and metrics.

use data_encoding::BASE64URL_NOPAD;
use groupcast::identity::{self, KeySettings};
use serde_json::{Value, json};

use crate::support::{
    COMMON_CONFIG, Folder, Gateway, HOUR, Running, Socket, claims, expired, sign, token,
};

const STRICT: &str = "[auth]\naudience = [\"tienda\"]\nissuer = [\"django\"]\n";

/// A token that a strict gateway would accept, if the claim `name` were not `value` or missing.
fn but(name: &str, value: Option<Value>) -> String {
    let mut all = claims("7", HOUR);
    (all["aud"], all["iss"]) = (json!("tienda"), json!("django"));
    match value {
        Some(value) => all[name] = value,
        None => drop(all.as_object_mut().unwrap().remove(name)),
    }
    sign(&all)
}

fn signed(id: &str, algorithm: &str, material: &[u8]) -> String {
    let (id, algorithm) = (id.to_owned(), algorithm.to_owned());
    let key = KeySettings { id, algorithm, material: material.to_vec() };
    identity::sign(&key, &claims("7", HOUR)).unwrap()
}

/// A valid token's claims with a header that asks for no signature.
fn unsigned() -> String {
    let header = BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"JWT"}"#);
    let good = token("7");
    format!("{header}.{}.", good.split('.').nth(1).unwrap())
}

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Every kind of invalid token, with its label in metrics.
fn wrong() -> Vec<(&'static str, String)> {
    vec![
        ("malformed", "hola".to_owned()),
        ("malformed", "a.b.c".to_owned()),
        ("expired", but("exp", Some(json!(claims("7", -60)["exp"])))),
        ("not_yet", but("nbf", Some(json!(claims("7", HOUR)["exp"])))),
        ("bad_signature", signed("", "HS256", b"another secret of thirty-two bytes")),
        ("wrong_algorithm", signed("", "HS512", SECRET)),
        ("wrong_algorithm", unsigned()),
        ("unknown_key", signed("2031", "HS256", SECRET)),
        ("wrong_audience", but("aud", Some(json!("otra")))),
        ("missing_claim", but("aud", None)),
        ("wrong_issuer", but("iss", Some(json!("otro")))),
        ("missing_claim", but("iss", None)),
        ("missing_claim", but("sub", None)),
        ("missing_claim", but("exp", None)),
        ("malformed", but("sub", Some(json!(7)))),
        ("malformed", but("sub", Some(json!("")))),
        ("malformed", but("exp", Some(json!("mañana")))),
        ("too_large", but("x", Some(json!("x".repeat(10_000))))),
    ]
}

#[tokio::test]
async fn closes_with_4401_whatever_the_cause_and_counts_it_by_name() {
    let gateway = Gateway::with(STRICT).await;
    let all = wrong();
    for (cause, token) in &all {
        let mut v1 = gateway.v1_silent("/ws").await;
        v1.hello(token).await;
        let bearer = format!("Bearer {token}");
        let mut plain = Socket::open(gateway.public, "/ws", &[("Authorization", &bearer)]).await;
        for socket in [&mut v1, &mut plain] {
            let closed = socket.closed().await;
            let expected = (4401, json!({"reason": "token missing, wrong or expired"}));
            assert_eq!(closed, expected, "{cause}");
        }
    }
    for (cause, _) in &all {
        let count = all.iter().filter(|(other, _)| other == cause).count();
        let metric = format!("groupcast_auth_failures_total{{cause=\"{cause}\"}}");
        assert_eq!(gateway.metric(&metric).await, 2.0 * count as f64, "{cause}");
    }
    let total = 2.0 * all.len() as f64;
    assert_eq!(gateway.metric(r#"groupcast_closes_total{code="4401"}"#).await, total);
    assert_eq!(gateway.metric(r#"groupcast_refusals_total{reason="unauthorized"}"#).await, total);
}

#[tokio::test]
async fn serves_others_while_refusing_bad_tokens() {
    let gateway = Gateway::start().await;
    let mut witness = gateway.v1("testigo").await;
    for _ in 0..20 {
        let mut socket = gateway.v1_silent("/ws").await;
        socket.hello(&expired("7")).await;
        gateway.still_serves(&mut witness).await;
        assert_eq!(socket.closed().await.0, 4401);
    }
}

#[tokio::test]
async fn counts_a_missing_token_as_a_cause_of_its_own() {
    let gateway = Gateway::start().await;
    let mut plain = Socket::open(gateway.public, "/ws?token=x", &[("Cookie", "token=x")]).await;
    assert_eq!(plain.closed().await.0, 4401, "neither cookie nor URL are read unless configured");
    let mut v1 = gateway.v1_silent("/ws").await;
    v1.send(json!({"type": "hello", "token": null})).await;
    assert_eq!(v1.closed().await.0, 4401);
    assert_eq!(gateway.metric(r#"groupcast_auth_failures_total{cause="missing"}"#).await, 2.0);
}

#[tokio::test]
async fn refuses_a_sub_that_makes_an_illegal_group_name() {
    let gateway = Gateway::start().await;
    for sub in ["a b", "ñandú", "../7", &"x".repeat(200)] {
        let mut socket = gateway.v1_silent("/ws").await;
        socket.hello(&token(sub)).await;
        let (code, reason) = socket.closed().await;
        assert_eq!((code, &reason["reason"]), (4403, &json!("a group name is not legal")), "{sub}");
    }
    let cause = r#"groupcast_auth_failures_total{cause="illegal_name"}"#;
    assert_eq!(gateway.metric(cause).await, 4.0);
}

#[tokio::test]
async fn refuses_a_connection_with_more_groups_than_its_limit() {
    let gateway = Gateway::with("[limits]\ngroups_per_connection = 2\n").await;
    let mut all = claims("7", HOUR);
    all["groups"] = json!(["a", "b"]);
    let mut socket = gateway.v1_silent("/ws").await;
    socket.hello(&sign(&all)).await;
    assert_eq!(socket.closed().await, (4403, json!({"reason": "too many groups"})));
}

#[tokio::test]
async fn logs_the_cause_and_never_the_token() {
    let route = "[[route]]\npath = \"/ws\"\njoin = [\"usuario_{sub}\"]\n";
    let log = "[log]\nformat = \"json\"\nlevel = \"debug\"\n";
    let folder = Folder::with(&format!("{COMMON_CONFIG}{log}{route}"));
    let mut running = Running::start(&mut folder.groupcast(&["serve"]));
    let (public, _) = running.addresses();
    let token = expired("7");
    let mut socket =
        Socket::open(public, "/ws", &[("Sec-WebSocket-Protocol", groupcast::protocol::V1)]).await;
    socket.hello(&token).await;
    assert_eq!(socket.closed().await.0, 4401);
    let mut lines = Vec::new();
    let entry = loop {
        lines.push(running.line());
        let entry: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
        if entry["message"] == "WebSocket refused" {
            break entry;
        }
    };
    assert_eq!((&entry["path"], &entry["code"]), (&json!("/ws"), &json!(4401)));
    let cause = entry["cause"].as_str().unwrap();
    // More than a second may pass before the token is checked.
    let age = cause.strip_prefix("expired: token expired ").expect(cause);
    let age: u64 = age.split_once(" s ago").expect(cause).0.parse().expect(cause);
    assert!((60..90).contains(&age), "{cause}");
    let signature = token.rsplit('.').next().unwrap();
    assert!(lines.iter().all(|line| !line.contains(signature)), "{lines:?}");
}
