//! Parsing of answers to calls.

use serde_json::json;

use super::super::{CallError, CallReply, CallRequest, Calls};
use super::server::Server;
use super::settings;
use crate::hub::CallFailure;
use crate::identity::{self, HookClaims, Verifier};

/// The identity of the user of these tests.
pub(super) fn identity() -> identity::Identity {
    let claims = json!({ "empresa": "acme", "nivel": 3 });
    Verifier::new(&identity::Settings::default())
        .unwrap()
        .hook_identity(HookClaims {
            sub: "7",
            expires_at: None,
            groups: &[],
            claims: claims.as_object().unwrap(),
            session: Some("s-1"),
        })
        .unwrap()
}

async fn outcome(status: u16, json: bool, body: &'static str) -> Result<CallReply, CallError> {
    let server = Server::answering(status, json, body).await;
    let calls = Calls::new(&settings(&server.url)).unwrap().unwrap();
    let identity = identity();
    calls
        .post(&CallRequest {
            name: "marcar_leida",
            data: None,
            connection: "k3f5a2bq-17".parse().unwrap(),
            channel: None,
            identity: &identity,
            path: "/ws/notificaciones/",
            key: None,
        })
        .await
}

#[tokio::test]
async fn reads_result_memberships_and_close_code_of_an_answer() {
    let body = concat!(
        r#"{"result":{"leidas":[31,1.50]},"join":["pedido.42"],"leave":["sala_1"],"#,
        r#""close":4403,"x":1}"#
    );
    let reply = outcome(200, true, body).await.unwrap();
    assert_eq!(reply.result.unwrap().get(), r#"{"leidas":[31,1.50]}"#, "as it was written");
    assert_eq!((reply.join[0].as_str(), reply.leave[0].as_str()), ("pedido.42", "sala_1"));
    assert_eq!(reply.close, Some(4403));
    for (status, body) in [(204, ""), (200, "{}"), (200, r#"{"result":null}"#)] {
        let reply = outcome(status, true, body).await.unwrap();
        assert!(reply.result.is_none() && reply.join.is_empty() && reply.close.is_none());
    }
}

#[tokio::test]
async fn a_refusal_has_the_back_ends_message_or_one_for_its_status() {
    for (status, code, retry) in [
        (400, "bad_request", false),
        (401, "forbidden", false),
        (403, "forbidden", false),
        (404, "not_found", false),
        (409, "conflict", false),
        (418, "call_failed", false),
        (422, "bad_request", false),
        (429, "limited", true),
    ] {
        let error = outcome(status, true, "{}").await.unwrap_err();
        let expected = (code, retry, CallFailure::Refused);
        assert_eq!((&*error.code, error.retry, error.failure), expected, "{status}");
    }
    let words = r#"{"code":"ya_leida","message":"La notificación ya estaba leída"}"#;
    let error = outcome(409, true, words).await.unwrap_err();
    assert_eq!((&*error.code, error.retry), ("ya_leida", false));
    assert_eq!(error.message, "La notificación ya estaba leída");
    assert_eq!(error.cause, None, "a refusal is no failure");
    let error = outcome(403, true, r#"{"code":"Sin Permiso","message":7}"#).await.unwrap_err();
    assert_eq!(&*error.code, "forbidden", "an invalid code is replaced");
    let unregistered = r#"{"code":"not_found","message":"no such call","unregistered":true}"#;
    let error = outcome(404, true, unregistered).await.unwrap_err();
    assert_eq!((&*error.code, &*error.message), ("not_found", "no such call"));
    assert!(error.cause.unwrap().contains("@groupcast.call"), "the operator is to know");
    let error = outcome(403, false, "<p>CSRF verification failed</p>").await.unwrap_err();
    assert!(error.cause.unwrap().contains("csrf_exempt"));
}

#[tokio::test]
async fn an_invalid_answer_is_a_failure_with_its_cause() {
    let failed = outcome(500, false, "").await.unwrap_err();
    assert_eq!((&*failed.code, failed.retry), ("unavailable", true));
    assert_eq!(failed.failure, CallFailure::Failed);
    for (status, json, body, cause) in [
        (200, false, "<html>", "application/json"),
        (302, false, "", "login_required"),
        (200, true, "{", "EOF"),
        (200, true, r#"{"join":"sala_1"}"#, "sequence"),
        (200, true, r#"{"join":["a b"]}"#, "' '"),
    ] {
        let error = outcome(status, json, body).await.unwrap_err();
        assert_eq!((&*error.code, error.failure), ("call_failed", CallFailure::BadAnswer));
        let found = error.cause.unwrap();
        assert!(found.contains(cause), "{found}");
    }
}
