//! Redis is 20 ms away, and many browsers send all the time: others do not notice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Forwarder, Gateway, Received, RedisServer, Socket, eventually};

/// The round trip to Redis.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// Sends that a browser has on their way.
const ON_THE_WAY: usize = 8;

/// Strangers that arrive and join, one after the other.
const STRANGERS: usize = 40;

/// The figures of the long form, with an optimized build.
const LONG_RATE: f64 = 5000.0;
const LONG_P99: Duration = Duration::from_millis(200);

/// Browsers that never stop sending: 60 in `make test`, and 1,000 with `SENDING_BROWSERS=1000`.
fn browsers() -> usize {
    std::env::var("SENDING_BROWSERS").map_or(60, |count| count.parse().unwrap())
}

async fn gateway(redis: SocketAddr) -> Gateway {
    let limits = "[limits]\nframes_per_second = 10000\nframe_burst = 10000\n";
    let layer = "[[layer.history]]\npattern = \"pedido.*\"\nsize = 20\n";
    let redis = format!("[layer]\nkind = \"redis\"\nurl = \"redis://{redis}\"\n");
    let gateway = Gateway::with(&format!("{limits}{redis}{layer}")).await;
    gateway.ready().await;
    gateway
}

/// Sends without end, and counts what is accepted.
async fn send_on(mut socket: Socket, number: usize, accepted: Arc<AtomicU64>) {
    let group = format!("sala_{}", number % 50);
    let data = json!({"type": "tecla"});
    let send = |id: u64| json!({"type": "send", "id": id, "group": group, "data": data});
    let mut sent = 0;
    while sent < ON_THE_WAY as u64 {
        sent += 1;
        socket.send(send(sent)).await;
    }
    let mut answered = 0;
    while let Received::Text(text) = socket.receive().await {
        if text == r#"{"type":"ping"}"# {
            socket.send(json!({"type": "pong"})).await;
            continue;
        }
        answered += 1;
        let expected = format!(r#"{{"type":"result","id":{answered},"#);
        assert!(text.starts_with(&expected), "in order: {text} after {}", answered - 1);
        accepted.fetch_add(1, Ordering::Relaxed);
        sent += 1;
        socket.send(send(sent)).await;
    }
}

/// The time until a new connection's welcome, and until it has joined a group with history.
async fn stranger(gateway: &Gateway, number: usize) -> (Duration, Duration) {
    let began = Instant::now();
    let mut socket = gateway.v1(&format!("nadie{number}")).await;
    let welcome = began.elapsed();
    let began = Instant::now();
    let groups = [format!("pedido.{number}")];
    let joined = socket.ask(json!({"type": "join", "groups": groups})).await;
    assert!(joined["groups"][0]["error"].is_null(), "{joined}");
    (welcome, began.elapsed())
}

fn worst(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() - 1 - times.len() / 100])
}

async fn strangers(gateway: &Gateway) -> [(Duration, Duration); 2] {
    let (mut welcomes, mut joins) = (Vec::new(), Vec::new());
    for number in 0..STRANGERS {
        let (welcome, join) = stranger(gateway, number).await;
        welcomes.push(welcome);
        joins.push(join);
    }
    [worst(&mut welcomes), worst(&mut joins)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_do_not_delay_a_stranger_nor_each_other() {
    let server = RedisServer::start();
    let path = Forwarder::delayed(server.address(), ROUND_TRIP).await;
    let gateway = gateway(path.address).await;
    let control = strangers(&gateway).await;
    let accepted = Arc::new(AtomicU64::new(0));
    let mut sending = JoinSet::new();
    for number in 0..browsers() {
        let socket = gateway.v1(&format!("emisor{number}")).await;
        sending.spawn(send_on(socket, number, Arc::clone(&accepted)));
    }
    eventually("all to send", async || accepted.load(Ordering::Relaxed) > browsers() as u64).await;
    let (before, began) = (accepted.load(Ordering::Relaxed), Instant::now());
    let beside = strangers(&gateway).await;
    let sends = accepted.load(Ordering::Relaxed) - before;
    let rate = sends as f64 / began.elapsed().as_secs_f64();
    println!(
        "{} browsers: {rate:.0} sends/s; a stranger's welcome and join (median, p99) beside them: \
         {beside:?}, alone: {control:?}",
        browsers()
    );
    assert!(sending.try_join_next().is_none(), "all are still sending");
    // One at a time of each browser would be 50 of each a second.
    let is_long = browsers() >= 1000 && !cfg!(debug_assertions);
    let least = if is_long { LONG_RATE } else { 600.0 };
    assert!(rate >= least, "{rate:.0} sends/s");
    let most = if is_long { LONG_P99 } else { Duration::from_secs(1) };
    for (_, p99) in beside {
        assert!(p99 <= most, "{beside:?}");
    }
}
