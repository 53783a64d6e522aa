//! `groupcast dev --backend`: the site and the sockets share one origin.

use serde_json::json;

use crate::support::{BackEnd, Folder, Raw, Running, Socket, request};

/// The output of `dev`, and the address of the page in it.
fn started(folder: &Folder, site: &str) -> (Running, String) {
    let arguments = ["dev", "--port", "0", "--api-port", "0", "--backend", site];
    let mut running = Running::start(&mut folder.groupcast(&arguments));
    let mut printed = String::new();
    while !printed.contains("Ctrl-C") {
        let line = running.line();
        assert!(!line.is_empty(), "the output ends with Ctrl-C: {printed}");
        printed.push_str(&line);
    }
    (running, printed)
}

fn after<'a>(printed: &'a str, mark: &str) -> &'a str {
    let rest = printed.split(mark).nth(1).unwrap_or_else(|| panic!("no {mark:?} in {printed}"));
    rest.split(['\n', '/', '\'']).next().unwrap().trim()
}

#[tokio::test]
async fn passes_requests_that_are_not_websockets_to_the_site() {
    let back_end = BackEnd::start();
    let folder = Folder::with("");
    let (_running, printed) = started(&folder, &format!("http://{}", back_end.address()));
    assert!(printed.contains(&format!("http://{}", back_end.address())), "{printed}");
    let public = after(&printed, "Page         http://").parse().unwrap();

    let received = request(public, "GET /received", &[], b"").await;
    assert_eq!((received.status, &received.json()["calls"]), (200, &json!([])));
    let body = br#"{"delay": 0}"#;
    assert_eq!(request(public, "POST /control", &[], body).await.status, 204);
    let refused =
        request(public, "GET /elsewhere?x=1", &["Groupcast-Signature: t=1,kid=1,v1=x"], b"");
    assert_eq!(refused.await.status, 401, "answers come back as they are");
    let client = request(public, "GET /client/v1/groupcast.js", &[], b"").await;
    assert_eq!(client.status, 200, "the client is the gateway's own");

    let offer = ("Sec-WebSocket-Protocol", groupcast::protocol::V1);
    let mut socket = Socket::open(public, "/ws", &[offer]).await;
    socket.hello(after(&printed, "Token ")).await;
    assert_eq!(socket.welcome().await["groups"], json!([{"group": "user_7"}]));
}

#[tokio::test]
async fn requests_for_another_host_are_refused_on_both_listeners() {
    let folder = Folder::with("");
    let arguments = ["dev", "--port", "0", "--api-port", "0", "--host", "tienda.test"];
    let mut running = Running::start(&mut folder.groupcast(&arguments));
    let mut printed = String::new();
    while !printed.contains("Ctrl-C") {
        printed.push_str(&running.line());
    }
    let public = after(&printed, "Page         http://").parse().unwrap();
    let api = after(&printed, "curl http://").parse().unwrap();
    let status = async |to, path: &str, host: &str| {
        let mut raw = Raw::connect(to).await;
        raw.write(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await;
        raw.answer().await.status
    };
    // DNS rebinding: a page whose own name resolves to 127.0.0.1 must not read the keys.
    assert_eq!(status(public, "/dev/session", "evil.example:8080").await, 421);
    assert_eq!(status(api, "/metrics", "evil.example").await, 421);
    for host in ["localhost:8080", "tienda.test", "[::1]"] {
        assert_eq!(status(public, "/dev/session", host).await, 200, "{host}");
        assert_eq!(status(api, "/healthz", host).await, 200, "{host}");
    }
}

#[tokio::test]
async fn names_a_site_that_does_not_answer() {
    let folder = Folder::with("");
    let unreachable = {
        let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        socket.local_addr().unwrap()
    };
    let (_running, printed) = started(&folder, &format!("http://{unreachable}"));
    let public = after(&printed, "Page         http://").parse().unwrap();
    let answer = request(public, "GET /", &[], b"").await;
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains(&unreachable.to_string()), "{}", answer.body);
}

#[test]
fn refuses_a_malformed_back_end_address() {
    let folder = Folder::with("");
    for address in ["127.0.0.1:8000", "https://127.0.0.1:8000", "http://", "http://a/b"] {
        let output = folder.groupcast(&["dev", "--backend", address]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{address}");
    }
}
