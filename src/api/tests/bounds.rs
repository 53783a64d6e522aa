//! Size, time, room and number of requests are bounded, and a panic stays within its request.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::*;

const AVISO: &str = r#"{"type":"aviso"}"#;

/// An event of exactly `bytes` bytes.
fn event_of(bytes: usize) -> String {
    let frame = r#"{"type":"aviso","x":""}"#.len();
    format!(r#"{{"type":"aviso","x":"{}"}}"#, "x".repeat(bytes - frame))
}

fn chunked(text: &str) -> Body {
    let chunks: Vec<_> =
        text.as_bytes().chunks(1000).map(Bytes::copy_from_slice).map(Ok::<_, Infallible>).collect();
    Body::from_stream(stream::iter(chunks))
}

#[tokio::test]
async fn accepts_an_event_at_the_size_limit_and_refuses_a_larger_one() {
    let mut gateway = gateway().await;
    let most = publish::Settings::default().max_event_bytes;
    let (fits, exceeds, huge) = (event_of(most), event_of(most + 1), event_of(2 * most));
    for body in [Body::from(fits.clone()), chunked(&format!("{fits}\n"))] {
        let answer = gateway.call(post("/groups/sala_1/send", body)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json);
        assert_eq!(gateway.publication().event.json().len(), most);
    }
    for body in [exceeds.clone().into(), chunked(&exceeds), huge.clone().into(), chunked(&huge)] {
        let answer = gateway.call(post("/groups/sala_1/send", body)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (413, "too_large"));
    }
    assert!(gateway.is_untouched());
}

#[tokio::test]
async fn refuses_a_declared_length_over_the_limit_before_the_body_arrives() {
    let gateway = gateway().await;
    let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let request = request("POST", "/users/7/send").header("content-length", "1000000").body(never);
    let answer = gateway.call(request.expect("legal")).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (413, "too_large"));
}

#[tokio::test]
async fn answers_408_if_the_body_does_not_arrive() {
    let gateway = gateway_with(publish::Settings::default(), Duration::from_millis(20)).await;
    let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{\"type\""))]);
    let answer = gateway
        .call(post("/users/7/send", Body::from_stream(first.chain(stream::pending()))))
        .await;
    assert_eq!((answer.status.as_u16(), answer.code()), (408, "timeout"));
    assert_eq!(answer.json["detail"], "the body was not complete within 20 ms");
}

#[tokio::test]
async fn refuses_a_body_that_is_cut_off() {
    let mut gateway = gateway().await;
    let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("reset"))]);
    let answer = gateway.call(post("/users/7/send", Body::from_stream(broken))).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, "bad_body"));
    assert!(gateway.is_untouched());
}

#[tokio::test]
async fn answers_503_with_retry_after_when_there_is_no_room() {
    let settings =
        publish::Settings { publish_timeout: Duration::from_millis(20), ..Default::default() };
    let gateway = gateway_with(settings, LONG).await;
    let to_user = || post("/users/7/send", AVISO);
    let change = || empty(request("PUT", "/groups/a/members/user:7"));
    let requests: [&dyn Fn() -> Request<Body>; 2] = [&to_user, &change];
    for request in requests {
        let answer = loop {
            let answer = gateway.call(request()).await;
            if answer.status != StatusCode::ACCEPTED {
                break answer;
            }
        };
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "busy"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn answers_503_beyond_the_limit_of_requests_in_flight() {
    let (api, inbox, metrics) = api(publish::Settings::default(), LONG).await;
    let in_flight = Arc::new(InFlightRequests::new(Arc::clone(&metrics)));
    let gateway = Gateway { router: routes(Arc::new(api), &in_flight), inbox, metrics };
    let stalled = || Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let mut held = tokio::task::JoinSet::new();
    for _ in 0..layers::MAX_IN_FLIGHT {
        held.spawn(gateway.router.clone().oneshot(post("/users/7/send", stalled())));
    }
    while in_flight.slots.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let answer = gateway.call(post("/users/7/send", AVISO)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "busy"));
    held.shutdown().await;
    let answer = gateway.call(post("/users/7/send", AVISO)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "what is over gives its place back");
}

#[tokio::test]
async fn a_panic_fails_only_its_own_request() {
    async fn faulty() -> StatusCode {
        panic!("on purpose")
    }
    let (_, inbox, metrics) = api(publish::Settings::default(), LONG).await;
    let in_flight = Arc::new(InFlightRequests::new(Arc::clone(&metrics)));
    let router = Router::new().route("/users/7/send", axum::routing::post(faulty));
    let gateway = Gateway { router: layers::surround(router, &in_flight), inbox, metrics };
    let answer = gateway.call(post("/users/7/send", AVISO)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (500, "internal"));
    assert!(!answer.json.to_string().contains("on purpose"));
}
