//! Every connection is addressed by the body of a broadcast, and by no path.

use super::*;
use crate::event::Target;

const AVISO: &str = r#"{"type":"aviso"}"#;

#[tokio::test]
async fn delivers_a_broadcast_to_all_byte_for_byte() {
    let mut gateway = gateway().await;
    let body = r#"{"to": "all", "event": { "type":"aviso", "n":1.10 }}"#;
    let answer = gateway.call(post("/broadcast?except=user:7", body)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json);
    let publication = gateway.publication();
    assert_eq!(publication.target, Target::All);
    assert_eq!(publication.event.json().as_ref(), br#"{ "type":"aviso", "n":1.10 }"#);
    assert_eq!(publication.except.users, ["7".into()]);
}

#[tokio::test]
async fn a_path_with_dots_resolved_by_the_client_never_broadcasts() {
    let mut gateway = gateway().await;
    // What curl, requests and fetch make of /groups/../send and the like.
    for path in ["/send", "/groups/send", "/users/send", "/connections/send", "/close"] {
        let answer = gateway.call(post(path, AVISO)).await;
        assert!(matches!(answer.status.as_u16(), 404 | 405), "{path}: {}", answer.json);
    }
    for (path, code) in [
        ("/groups/../send", "bad_group"),
        ("/groups/./send", "bad_group"),
        ("/groups/%2e%2e/send", "bad_group"),
        ("/users/../send", "bad_member"),
        ("/users/%2E/send", "bad_member"),
        ("/users/../close", "bad_member"),
    ] {
        let answer = gateway.call(post(path, AVISO)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (422, code), "{path}");
    }
    let answer = gateway.call(empty(request("PUT", "/groups/sala_1/members/user:.."))).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "bad_member"));
    assert!(gateway.is_untouched());
}

#[tokio::test]
async fn refuses_a_broadcast_whose_body_does_not_address_all() {
    let mut gateway = gateway().await;
    for body in [
        AVISO,
        r#"{"event":{"type":"aviso"}}"#,
        r#"{"to":"todos","event":{"type":"aviso"}}"#,
        r#"{"to":"all","event":{"type":"aviso"},"group":"sala_1"}"#,
        r#"{"to":"all"}"#,
        "[]",
        "",
    ] {
        let answer = gateway.call(post("/broadcast", body)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (422, "bad_broadcast"), "{body}");
    }
    let answer = gateway.call(post("/broadcast", r#"{"to":"all","event":{}}"#)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "bad_event"));
    assert!(gateway.is_untouched());
}
