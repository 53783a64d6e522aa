//! Shutdown: clients are closed with a window in which to reconnect, within the grace time.

use groupcast::DrainOutcome;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    COMMON_CONFIG, Folder, Gateway, Opcode, Raw, Received, Running, Socket, eventually, request,
    soon, token,
};

#[tokio::test]
async fn closes_all_connections_with_a_window_in_which_to_come_back() {
    let mut gateway = Gateway::start().await;
    let mut sockets = vec![gateway.plain_member("0").await];
    for sub in 1..20 {
        sockets.push(gateway.v1(&sub.to_string()).await);
    }
    gateway.stop();
    for socket in &mut sockets {
        let (code, reason) = socket.closed().await;
        assert_eq!((code, &reason["reason"]), (4503, &json!("draining")));
        let window = reason["retry_ms"].as_u64().unwrap();
        assert!((1000..=30_000).contains(&window), "{window}");
    }
    assert_eq!(gateway.ended().await, DrainOutcome::Complete);
}

#[tokio::test]
async fn exits_at_once_without_connections() {
    let mut gateway = Gateway::start().await;
    gateway.stop();
    assert_eq!(gateway.ended().await, DrainOutcome::Complete);
}

#[tokio::test]
async fn is_not_ready_and_accepts_nobody_while_draining_but_delivers() {
    // One per second and shard: the fifth connection of each shard stays open for four seconds.
    let mut gateway = Gateway::with("[drain]\nrate = 1\ngrace = \"30s\"\n").await;
    let mut sockets = Vec::new();
    for sub in 0..10 {
        sockets.push(gateway.v1(&sub.to_string()).await);
    }
    gateway.stop();
    eventually("the gateway not to be ready", async || {
        request(gateway.api, "GET /readyz", &[], b"").await.status == 503
    })
    .await;
    let ready = request(gateway.api, "GET /readyz", &[], b"").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "draining\n"));
    assert_eq!(request(gateway.api, "GET /healthz", &[], b"").await.status, 200);
    eventually("the listener to close", async || {
        tokio::net::TcpStream::connect(gateway.public).await.is_err()
    })
    .await;
    gateway.broadcast(json!({"type": "aún"})).await;
    let (mut reached, mut spread) = (0, Vec::new());
    for socket in &mut sockets {
        loop {
            match socket.next().await {
                Received::Text(_) => reached += 1,
                Received::Close(4503, reason) => break spread.push(reason),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((1..10).contains(&reached), "{reached}: those not closed yet, and only those");
    assert_eq!(spread.len(), 10);
    assert_eq!(gateway.ended().await, DrainOutcome::Complete);
}

#[tokio::test]
async fn cuts_off_clients_that_do_not_close_within_the_grace_time() {
    let mut gateway = Gateway::with("[drain]\ngrace = \"1s\"\n").await;
    let mut unresponsive = Raw::connect(gateway.public).await;
    unresponsive.upgrade("/ws", &[&format!("Authorization: Bearer {}", token("7"))]).await;
    gateway.members("usuario_7", 1).await;
    gateway.stop();
    assert_eq!(unresponsive.close_code().await, 4503);
    // The client keeps its side open and answers nothing.
    assert_eq!(gateway.ended().await, DrainOutcome::TimedOut);
}

fn serving(more: &str) -> Folder {
    let route = "[[route]]\npath = \"/ws\"\njoin = [\"usuario_{sub}\"]\n";
    Folder::with(&format!("{COMMON_CONFIG}[log]\nformat = \"json\"\n{route}{more}"))
}

/// A v1 client of the gateway in a separate process.
async fn v1(public: std::net::SocketAddr, sub: &str) -> Socket {
    let mut socket =
        Socket::open(public, "/ws", &[("Sec-WebSocket-Protocol", groupcast::protocol::V1)]).await;
    socket.hello(&token(sub)).await;
    socket.welcome().await;
    socket
}

#[tokio::test]
async fn sigterm_and_sigint_drain_and_exit_with_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = serving("");
        let mut running = Running::start(&mut folder.groupcast(&["serve"]));
        let (public, _) = running.addresses();
        let mut sockets = Vec::new();
        for sub in 0..10 {
            sockets.push(v1(public, &sub.to_string()).await);
        }
        running.signal(signal);
        for socket in &mut sockets {
            let (code, reason) = socket.closed().await;
            assert_eq!(code, 4503);
            assert!(reason["retry_ms"].is_u64(), "{reason}");
        }
        drop(sockets);
        let entry = running.logged("stopped");
        assert_eq!(entry["outcome"], "Complete", "{entry}");
        assert_eq!(running.exit_code(), Some(0));
    }
}

#[tokio::test]
async fn a_second_signal_exits_at_once() {
    let folder = serving("[drain]\ngrace = \"1h\"\nrate = 1\n");
    let mut running = Running::start(&mut folder.groupcast(&["serve"]));
    let (public, _) = running.addresses();
    let mut unresponsive = Raw::connect(public).await;
    unresponsive.upgrade("/ws", &["Sec-WebSocket-Protocol: groupcast.v1.json"]).await;
    let hello: Value = json!({"type": "hello", "token": token("7")});
    unresponsive.frame(Opcode::Text, hello.to_string().as_bytes()).await;
    assert!(unresponsive.text().await.contains("welcome"));
    running.signal(Signal::SIGTERM);
    running.logged("draining; a second signal exits immediately");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.exit_code(), Some(130));
    while soon("the end", unresponsive.next()).await.is_some() {}
}
