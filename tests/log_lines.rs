//! What operators are to read in the log: a line for what they can mend, and not the same again.

use serde_json::{Value, json};

use crate::support::{BackEnd, Instance, Socket, eventually};

/// The lines of a log that hold this text.
fn lines(instance: &Instance, text: &str) -> Vec<String> {
    let log = instance.log();
    log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

async fn with_site(more: &str) -> (BackEnd, Instance) {
    let back_end = BackEnd::start();
    let instance = Instance::start(&format!("{}{more}", back_end.configuration(""))).await;
    (back_end, instance)
}

#[tokio::test]
async fn a_call_that_the_site_has_not_registered_leaves_a_line_that_says_what_to_do() {
    let (_back_end, instance) =
        with_site("[[grant]]\ncalls = [\"*\"]\n[[route]]\npath = \"/ws\"\n").await;
    let mut socket = instance.v1("7").await;
    let unregistered = json!({"code": "not_found", "message": "x", "unregistered": true});
    for (status, body) in [(404, json!({"code": "not_found"})), (404, unregistered)] {
        let data = json!({"status": status, "body": body});
        let call = json!({"type": "call", "name": "falla", "data": data});
        let answer = socket.ask(call).await;
        assert_eq!(answer["code"], "not_found", "{answer}");
    }
    eventually("the line", async || !lines(&instance, "call failed").is_empty()).await;
    let found = lines(&instance, "call failed");
    assert_eq!(found.len(), 1, "a view's own 404 is no fault: {found:?}");
    let line: Value = serde_json::from_str(&found[0]).unwrap();
    assert_eq!((&line["level"], &line["call"]), (&json!("WARN"), &json!("falla")), "{line}");
    assert!(line["cause"].as_str().unwrap().contains("@groupcast.call"), "{line}");
}

#[tokio::test]
async fn a_peer_that_is_taken_for_a_proxy_is_told_once() {
    let (_back_end, instance) = with_site("[[route]]\npath = \"/ws\"\n").await;
    const HINT: &str = "is taken for a proxy";
    for n in 0..3 {
        assert_eq!(lines(&instance, HINT).len(), usize::from(n > 0));
        let (cookie, client) = (format!("sessionid={n}"), format!("192.0.2.{n}"));
        let headers = [
            ("Sec-WebSocket-Protocol", "groupcast.v1.json"),
            ("Cookie", &*cookie),
            ("X-Forwarded-For", &*client),
        ];
        let mut socket = Socket::open(instance.public, "/ws", &headers).await;
        socket.send(json!({"type": "hello"})).await;
        socket.welcome().await;
        eventually("the line", async || !lines(&instance, HINT).is_empty()).await;
    }
    let line = &lines(&instance, HINT)[0];
    assert!(line.contains("logged once") && line.contains("127.0.0.1"), "{line}");
}
