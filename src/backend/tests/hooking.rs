//! The connect hook: requests, verdicts, caching.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::super::{Hook, HookRequest, HookVerdict, Settings, ask_hook_once};
use super::server::{Server, response};
use super::settings;
use crate::event::ConnectionId;
use crate::identity::{self, NEVER, Verifier};
use crate::telemetry::Metrics;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let parse = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in pairs.iter().map(parse) {
        headers.append(name, value);
    }
    headers
}

fn visitor(cookie: &str) -> HookRequest {
    let headers = headers(&[("host", "tienda.example"), ("cookie", cookie)]);
    HookRequest::new("/ws", &[], &headers, None)
}

fn verifier() -> Verifier {
    Verifier::new(&identity::Settings::default()).unwrap()
}

fn connection(serial: u64) -> ConnectionId {
    format!("k3f5a2bq-{serial}").parse().unwrap()
}

fn hook(settings: &Settings) -> Hook {
    Hook::new(settings, Arc::new(verifier()), None, &Metrics::new()).unwrap().unwrap()
}

/// The verdict on a visitor if the hook answers like this.
async fn verdict(status: u16, json: bool, body: &'static str) -> HookVerdict {
    let server = Server::answering(status, json, body).await;
    hook(&settings(&server.url)).ask(&visitor("sessionid=7"), connection(1), None).await
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn joins_cookie_lines_and_encodes_parameters() {
    let server = Server::answering(200, true, r#"{"sub":"7"}"#).await;
    let headers = headers(&[("cookie", "a=1"), ("cookie", "b=2"), ("user-agent", "N/1")]);
    let parameters = [("sala".to_owned(), "a+b&ñ".to_owned()), ("n".to_owned(), "1".to_owned())];
    let peer = Some("2001:db8::7".parse().unwrap());
    let visitor = HookRequest::new("/ws/a+b&ñ/1/", &parameters, &headers, peer);
    let channel = "groupcast.groupcast.c5!k3f5a2bq-1".to_owned();
    hook(&settings(&server.url)).ask(&visitor, connection(1), Some(channel.clone())).await;
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "GET /groupcast/connect?sala=a%2Bb%26%C3%B1&n=1");
    for (name, value) in [
        ("cookie", "a=1; b=2"),
        ("user-agent", "N/1"),
        ("x-forwarded-for", "2001:db8::7"),
        ("x-forwarded-proto", "http"),
        ("groupcast-path", "/ws/a+b&%C3%B1/1/"),
        ("groupcast-connection", "k3f5a2bq-1"),
        ("groupcast-channel", &channel),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn a_client_cannot_hide_a_proxys_forwarding_lines_behind_its_own() {
    let server = Server::answering(200, true, r#"{"sub":"7"}"#).await;
    let headers = headers(&[
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "http"),
    ]);
    let visitor = HookRequest::new("/ws", &[], &headers, Some("10.0.0.1".parse().unwrap()));
    hook(&settings(&server.url)).ask(&visitor, connection(1), None).await;
    let asked = &server.asked()[0];
    assert_eq!(asked.header("x-forwarded-for"), "192.0.2.1, 203.0.113.9");
    assert_eq!(asked.header("x-forwarded-proto"), "http", "the line of the nearest proxy");
}

#[tokio::test]
async fn never_asks_about_a_foreign_host_or_a_request_that_no_server_takes() {
    let server = Server::answering(200, true, r#"{"sub":"7"}"#).await;
    let allowed_hosts = vec!["tienda.example".to_owned()];
    let hook = hook(&Settings { allowed_hosts, ..settings(&server.url) });
    let foreign = headers(&[("host", "evil.example"), ("cookie", "sessionid=7")]);
    let foreign = HookRequest::new("/ws", &[], &foreign, None);
    let long_cookie = visitor(&"x".repeat(9000));
    let own = headers(&[("host", "tienda.example:443")]);
    let long_path = [("sala".to_owned(), "%".repeat(23_000))];
    let long_path = HookRequest::new("/ws", &long_path, &own, None);
    for (serial, refused) in (1..).zip([&foreign, &long_cookie, &long_path]) {
        let verdict = hook.ask(refused, connection(serial), None).await;
        assert!(matches!(verdict, HookVerdict::Unknown(_)), "{verdict:?}");
    }
    let own = HookRequest::new("/ws", &[], &own, None);
    assert!(matches!(hook.ask(&own, connection(9), None).await, HookVerdict::Accepted(_)));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn an_answer_gives_identity_and_lifetime() {
    let body = r#"{"sub":"7","groups":["usuario_7"],"claims":{"empresa":"acme"},"expires_in":100,
        "session":"s-1","welcome":{"type":"hola"},"otra":1}"#;
    let HookVerdict::Accepted(accepted) = verdict(200, true, body).await else {
        panic!("it was accepted")
    };
    let left = accepted.identity.expires_at - now();
    assert!((95..=100).contains(&left), "{left}");
    assert_eq!(accepted.identity.session(), Some("s-1"));
    assert!(accepted.welcome.is_some());
    // Half the time is shorter than the minute; each connection has its own moment before it.
    let ask_at = accepted.ask_at(connection(1)) - now();
    assert!((40..=50).contains(&ask_at), "{ask_at}");
    let moments: std::collections::BTreeSet<_> =
        (1..100).map(|n| accepted.ask_at(connection(n))).collect();
    assert!(moments.len() > 3, "{moments:?}");

    let HookVerdict::Accepted(lasting) = verdict(200, true, r#"{"sub":"7"}"#).await else {
        panic!("accepted")
    };
    assert_eq!(lasting.identity.expires_at, NEVER);
    let ask_at = lasting.ask_at(connection(1)) - now();
    assert!((535..=600).contains(&ask_at), "{ask_at}");
}

#[tokio::test]
async fn a_failed_hook_request_names_its_cause() {
    let anonymous = verdict(401, true, r#"{"code":"anonymous"}"#).await;
    assert!(matches!(anonymous, HookVerdict::Unauthorized));
    let forbidden = verdict(403, true, r#"{"code":"forbidden"}"#).await;
    assert!(matches!(forbidden, HookVerdict::Forbidden));
    let long = format!(r#"{{"sub":"7","claims":{{"nota":"{}"}}}}"#, "x".repeat(1024));
    let long: &'static str = long.leak();
    for (status, json, body, named) in [
        (200, true, r#"{"sub":7}"#, "sub is a number"),
        (200, true, r#"{"id":"7"}"#, "no sub"),
        (200, true, r#"{"sub":"7","groups":["a b"]}"#, "groups"),
        (200, true, r#"{"sub":"7","groups":"geheim"}"#, "sequence"),
        (200, true, r#"{"sub":"7","welcome":"hola"}"#, "welcome is not an object"),
        (200, true, r#"{"sub":""}"#, "sub is empty"),
        (200, true, long, "1024 are allowed"),
        (200, false, "<html>", "application/json"),
        (400, false, "<h1>Bad Request (400)</h1>", "ALLOWED_HOSTS"),
        (401, true, r#"{"code":"bad_signature"}"#, "secret"),
        (403, false, "CSRF verification failed", "csrf_exempt"),
        (401, false, "", "bare_refusals"),
        (403, true, "{}", "bare_refusals"),
        (404, false, "", "urls.py"),
        (500, false, "", "500"),
    ] {
        let HookVerdict::Unknown(cause) = verdict(status, json, body).await else {
            panic!("{status} {body}")
        };
        assert!(cause.contains(named) && !cause.contains("geheim"), "{cause}");
    }
}

#[tokio::test]
async fn asks_once_while_the_verdict_is_cached() {
    let server = Server::answering(200, true, r#"{"sub":"7"}"#).await;
    let hook = hook(&settings(&server.url));
    for n in 0..5 {
        hook.ask(&visitor("sessionid=7"), connection(n + 1), None).await;
    }
    assert_eq!(server.asked().len(), 1);
    hook.ask(&visitor("sessionid=8"), connection(6), None).await;
    let elsewhere = headers(&[("host", "otra.example"), ("cookie", "sessionid=7")]);
    hook.ask(&HookRequest::new("/ws", &[], &elsewhere, None), connection(7), None).await;
    let host = headers(&[("host", "tienda.example"), ("cookie", "sessionid=7")]);
    hook.ask(&HookRequest::new("/ws/otra", &[], &host, None), connection(8), None).await;
    let agent = [("host", "tienda.example"), ("cookie", "sessionid=7"), ("user-agent", "N/2")];
    hook.ask(&HookRequest::new("/ws", &[], &headers(&agent), None), connection(9), None).await;
    assert_eq!(server.asked().len(), 4, "cookie, host and path decide, and nothing else");
}

#[tokio::test]
async fn a_request_continues_after_its_caller_is_gone() {
    let (release, released) = tokio::sync::watch::channel(false);
    let server = Server::start(move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|open| *open).await.unwrap();
            response(200, true, r#"{"sub":"7"}"#)
        }
    })
    .await;
    let hook = hook(&settings(&server.url));
    let (someone, first) = (visitor("sessionid=7"), hook.clone());
    let asker = tokio::spawn(async move { first.ask(&someone, connection(1), None).await });
    while server.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    asker.abort();
    assert!(asker.await.unwrap_err().is_cancelled());
    release.send(true).unwrap();
    let verdict = hook.ask(&visitor("sessionid=7"), connection(2), None).await;
    assert!(matches!(verdict, HookVerdict::Accepted(_)));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn refuses_immediately_when_the_queue_is_full() {
    let server = Server::start(|_| std::future::pending()).await;
    let hook = hook(&Settings { timeout: Duration::from_secs(600), ..settings(&server.url) });
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let (hook, visitor) = (hook.clone(), visitor(&format!("sessionid={n}")));
        waiting.spawn(async move { hook.ask(&visitor, connection(n + 1), None).await });
    }
    // Four at most are asked about, and 512 wait.
    for _ in 0..1000 - 4 - 512 {
        let verdict = waiting.join_next().await.unwrap().unwrap();
        assert!(
            matches!(verdict, HookVerdict::Unknown(cause) if cause.contains("waiting already"))
        );
    }
    while server.asked().len() < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn asks_the_hook_on_behalf_of_a_described_browser() {
    let server = Server::answering(200, true, r#"{"sub":"7","groups":["usuario_7"]}"#).await;
    let settings = settings(&server.url);
    let request = HookRequest::described("/ws", "tienda.example", Some("sessionid=7"));
    let verdict = ask_hook_once(&settings, &verifier(), &request).await.unwrap();
    assert!(matches!(verdict, HookVerdict::Accepted(_)), "{verdict:?}");
    let asked = &server.asked()[0];
    assert_eq!((asked.header("host"), asked.header("cookie")), ("tienda.example", "sessionid=7"));
    let server = Server::answering(400, false, "").await;
    let settings = Settings { url: server.url.clone(), ..settings };
    let verdict = ask_hook_once(&settings, &verifier(), &request).await.unwrap();
    let HookVerdict::Unknown(cause) = verdict else { panic!("{verdict:?}") };
    assert!(cause.contains("ALLOWED_HOSTS"), "{cause}");
}

#[tokio::test]
async fn a_request_that_is_too_long_fails_without_being_sent() {
    let server = Server::answering(200, true, r#"{"sub":"7"}"#).await;
    let metrics = Metrics::new();
    let hook = Hook::new(&settings(&server.url), Arc::new(verifier()), None, &metrics);
    let hook = hook.unwrap().unwrap();
    let long = [("sala".to_owned(), "%".repeat(23_000))];
    let long = HookRequest::new("/ws/x/", &long, &headers(&[("host", "h")]), None);
    let HookVerdict::Unknown(cause) = hook.ask(&long, connection(1), None).await else {
        panic!("no request was sent")
    };
    assert!(cause.contains("too long"), "{cause}");
    assert_eq!(server.asked().len(), 0);
    assert!(metrics.render().contains("groupcast_hooks_in_flight 0"), "{}", metrics.render());
    let verdict = hook.ask(&visitor("sessionid=7"), connection(2), None).await;
    assert!(matches!(verdict, HookVerdict::Accepted(_)), "{verdict:?}");
}

#[tokio::test]
async fn a_visitor_whose_request_is_refused_stops_nobody_else() {
    let answer = |n| {
        std::future::ready(match n {
            0..10 => response(400, false, ""),
            _ => response(200, true, r#"{"sub":"7"}"#),
        })
    };
    let server = Server::start(answer).await;
    let hook = hook(&settings(&server.url));
    for n in 0..10 {
        let wrong = hook.ask(&visitor(&format!("sessionid={n}")), connection(n + 1), None).await;
        assert!(matches!(wrong, HookVerdict::Unknown(_)), "{wrong:?}");
    }
    let again = hook.ask(&visitor("sessionid=0"), connection(11), None).await;
    assert!(matches!(again, HookVerdict::Unknown(_)), "cached: {again:?}");
    assert_eq!(server.asked().len(), 10);
    let verdict = hook.ask(&visitor("sessionid=11"), connection(12), None).await;
    assert!(matches!(verdict, HookVerdict::Accepted(_)), "{verdict:?}");
}

#[tokio::test]
async fn a_large_page_on_an_exception_is_reported_by_its_status() {
    let page = || std::future::ready(response(500, false, "x".repeat(80_000)));
    let server = Server::start(move |_| page()).await;
    let hook = hook(&settings(&server.url));
    let verdict = hook.ask(&visitor("sessionid=7"), connection(1), None).await;
    let HookVerdict::Unknown(cause) = verdict else { panic!("{verdict:?}") };
    assert!(cause.contains("500"), "{cause}");
}

proptest! {
    #[test]
    fn unpacking_restores_a_packed_request(
        path in "/[ -~ñé]{0,40}",
        value in "[ -~ñé/]{0,40}",
        cookie in "[!-~]([ -~]{0,80}[!-~])?",
    ) {
        let headers = headers(&[("cookie", &cookie), ("host", "h")]);
        let parameters = [("sala".to_owned(), value)];
        let visitor = HookRequest::new(&path, &parameters, &headers, None);
        let again = HookRequest::unpack(&visitor.pack()).unwrap();
        prop_assert_eq!(format!("{visitor:?}"), format!("{again:?}"));
    }
}
