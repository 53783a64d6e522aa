//! Requests of calls: content, timeouts, retries.

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::sign::{Signed, Signer};
use super::super::{CallError, CallReply, CallRequest, Calls, Settings};
use super::answering::identity;
use super::server::{Server, response};
use super::settings;
use crate::hub::CallFailure;

async fn ask(settings: &Settings, key: Option<&str>) -> Result<CallReply, CallError> {
    let calls = Calls::new(settings).unwrap().unwrap();
    let data = RawValue::from_string(r#"{"id":31,"n":1.50}"#.to_owned()).unwrap();
    let identity = identity();
    calls
        .post(&CallRequest {
            name: "marcar_leida",
            data: Some(&data),
            connection: "k3f5a2bq-17".parse().unwrap(),
            channel: Some("groupcast.groupcast.c5!k3f5a2bq-17"),
            identity: &identity,
            path: "/ws/notificaciones/",
            key,
        })
        .await
}

#[tokio::test]
async fn a_call_carries_its_caller_and_is_signed() {
    let server = Server::answering(204, true, "").await;
    let headers = vec![("X-Forwarded-Proto".to_owned(), "https".to_owned())];
    let settings = Settings { headers, host: "tienda.example".to_owned(), ..settings(&server.url) };
    ask(&settings, Some("k-1")).await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /groupcast/call");
    for (name, value) in [
        ("host", "tienda.example"),
        ("content-type", "application/json"),
        ("idempotency-key", "k-1"),
        ("groupcast-path", "/ws/notificaciones/"),
        ("x-forwarded-proto", "https"),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
    assert!(asked.body.contains(r#""data":{"id":31,"n":1.50}"#), "as the browser wrote it");
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    let expected = json!({
        "call": "marcar_leida", "data": {"id": 31, "n": 1.5}, "connection": "k3f5a2bq-17",
        "channel": "groupcast.groupcast.c5!k3f5a2bq-17", "sub": "7",
        "claims": {"empresa": "acme", "nivel": 3}, "session": "s-1", "path": "/ws/notificaciones/",
    });
    assert_eq!(body, expected);
    let signature = asked.header("groupcast-signature");
    let time = signature.split(',').next().unwrap().strip_prefix("t=").unwrap();
    let again = Signer::new(&settings).unwrap().sign(&Signed {
        time: time.parse().unwrap(),
        method: "POST",
        target: "/groupcast/call",
        path: b"/ws/notificaciones/",
        body: asked.body.as_bytes(),
    });
    assert_eq!(signature, again);
}

#[tokio::test]
async fn reuses_connections_between_calls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = settings(&format!("http://{}", listener.local_addr().unwrap()));
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    });
    let calls = Calls::new(&settings).unwrap().unwrap();
    let identity = identity();
    for _ in 0..2 {
        let question = CallRequest {
            name: "x",
            data: None,
            connection: "k3f5a2bq-1".parse().unwrap(),
            channel: None,
            identity: &identity,
            path: "/ws",
            key: None,
        };
        calls.post(&question).await.unwrap();
    }
    served.await.unwrap();
}

/// Reads one request with its body.
async fn read_request(stream: &mut tokio::net::TcpStream) {
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&seen).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                return;
            }
        }
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the request ends early");
        seen.extend(&buffer[..read]);
    }
}

#[tokio::test]
async fn distinguishes_an_unreachable_back_end_from_a_slow_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let short = Duration::from_millis(50);
    // The kernel completes the handshake, but there is no answer.
    let slow = ask(&Settings { timeout: short, ..settings(&url) }, Some("k")).await.unwrap_err();
    assert_eq!((&*slow.code, slow.retry, slow.failure), ("timeout", true, CallFailure::Timeout));
    drop(listener);
    let gone = ask(&settings(&url), None).await.unwrap_err();
    assert_eq!((&*gone.code, gone.retry), ("unavailable", true));
    assert_eq!(gone.failure, CallFailure::Unreachable);
    assert!(gone.cause.unwrap().contains("refused"), "it has the system's error");
}

#[tokio::test]
async fn repeats_only_a_call_with_a_key_and_only_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = settings(&format!("http://{}", listener.local_addr().unwrap()));
    let (count, mut counted) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            // Dropped: the connection ends under the request.
            count.send(()).await.unwrap();
        }
    });
    for (key, requests) in [(None, 1), (Some("k-1"), 2)] {
        let error = ask(&settings, key).await.unwrap_err();
        assert_eq!(error.failure, CallFailure::Unreachable);
        for _ in 0..requests {
            counted.recv().await.unwrap();
        }
        assert!(counted.try_recv().is_err(), "no more than {requests} with key {key:?}");
    }
}

#[tokio::test]
async fn does_not_repeat_a_refused_call() {
    let server = Server::answering(503, true, "{}").await;
    ask(&settings(&server.url), Some("k-1")).await.unwrap_err();
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn cuts_off_an_answer_without_end() {
    let long = || std::future::ready(response(200, true, "x".repeat(64 * 1024 + 1)));
    let server = Server::start(move |_| long()).await;
    let error = ask(&settings(&server.url), None).await.unwrap_err();
    assert_eq!(error.failure, CallFailure::BadAnswer);
    assert!(error.cause.unwrap().contains("exceeds 65536 bytes"));
}

#[tokio::test]
async fn refuses_a_key_that_no_header_can_carry_without_sending() {
    let server = Server::answering(204, true, "").await;
    for key in ["", "a b", "ñ", &"x".repeat(256)] {
        let error = ask(&settings(&server.url), Some(key)).await.unwrap_err();
        assert_eq!(&*error.code, "bad_request");
    }
    assert!(server.asked().is_empty());
}
