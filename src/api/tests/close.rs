//! A back end closes connections.

use super::*;
use crate::event::Member;

#[tokio::test]
async fn closes_a_connection_or_a_user_with_the_requested_code() {
    let mut gateway = gateway().await;
    let connection = || Member::Connection("k3f5a2bq-17".parse().expect("legal"));
    let user = |sub: &str| Member::User(sub.into());
    for (path, member, code) in [
        ("/connections/k3f5a2bq-17/close", connection(), 4403),
        ("/connections/k3f5a2bq-17/close?code=4409", connection(), 4409),
        ("/users/7/close", user("7"), 4403),
        ("/users/7/close?code=4401", user("7"), 4401),
        ("/users/mar%C3%ADa%2F7/close?code=4503", user("maría/7"), 4503),
    ] {
        let answer = gateway.call(empty(request("POST", path))).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}: {}", answer.json);
        assert_eq!(gateway.change(), Control::Close(member, code));
    }
}

#[tokio::test]
async fn closes_only_the_connections_of_a_session() {
    let mut gateway = gateway().await;
    let path = "/users/7/close?code=4401&session=ab%2Bc";
    let answer = gateway.call(empty(request("POST", path))).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json);
    assert_eq!(gateway.change(), Control::CloseSession("7".into(), "ab+c".into(), 4401));
}

#[tokio::test]
async fn refuses_other_codes_and_parameters_without_closing_anything() {
    let mut gateway = gateway().await;
    let long = format!("session={}", "x".repeat(129));
    for query in [
        "code=1000",
        "code=4400",
        "code=",
        "code=99999999",
        "cod=4401",
        "code=4401&x=1",
        "code=4401&code=4403",
        "session=",
        "session=%",
        "session=a&session=b",
        &long,
    ] {
        let path = format!("/users/7/close?{query}");
        let answer = gateway.call(empty(request("POST", &path))).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "bad_query"), "{query}");
    }
    let of_one = "/connections/k3f5a2bq-17/close?session=a";
    let answer = gateway.call(empty(request("POST", of_one))).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, "bad_query"));
    let answer = gateway.call(empty(request("POST", "/connections/7/close"))).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "bad_member"));
    assert!(gateway.is_untouched());
}
