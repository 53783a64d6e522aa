//! A back end adds and removes members.

use super::*;
use crate::event::Member;

#[tokio::test]
async fn adds_and_removes_a_connection_or_a_user() {
    let mut gateway = gateway().await;
    let group = || GroupName::parse("sala_1").expect("legal");
    let connection = Member::Connection("k3f5a2bq-17".parse().expect("legal"));
    for (name, member) in [
        ("k3f5a2bq-17", connection),
        ("user:7", Member::User("7".into())),
        ("user:k3f5a2bq-17", Member::User("k3f5a2bq-17".into())),
        ("user:user:7", Member::User("user:7".into())),
        ("user%3Amar%C3%ADa%2F7", Member::User("maría/7".into())),
    ] {
        let path = format!("/groups/sala_1/members/{name}");
        let answer = gateway.call(empty(request("PUT", &path))).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{name}: {}", answer.json);
        assert_eq!(gateway.change(), Control::Join(member.clone(), group()));
        let answer = gateway.call(empty(request("DELETE", &path))).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!(gateway.change(), Control::Leave(member, group()));
    }
}

#[tokio::test]
async fn refuses_a_member_that_is_neither_a_connection_nor_a_user() {
    let mut gateway = gateway().await;
    for (path, code) in [
        ("/groups/sala_1/members/7", "bad_member"),
        ("/groups/sala_1/members/user:", "bad_member"),
        ("/groups/sala_1/members/k3f5a2bq-0", "bad_member"),
        ("/groups/sala%201/members/user:7", "bad_group"),
    ] {
        for method in ["PUT", "DELETE"] {
            let answer = gateway.call(empty(request(method, path))).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (422, code), "{path}");
        }
    }
    assert!(gateway.is_untouched());
}
