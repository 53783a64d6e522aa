//! A flood in one group neither delays other groups nor costs them an event.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use crate::support::{Endpoints, Instance, Received, RedisServer, Socket, eventually};
use crate::two_instances::over;

/// Between two events of the quiet group.
const QUIET: Duration = Duration::from_millis(50);

/// A setting from the environment, for long runs.
fn setting(name: &str, short: u64) -> u64 {
    std::env::var(name).map_or(short, |value| value.parse().unwrap())
}

/// A connection that publishes events as any program may.
struct Program(TcpStream);

impl Program {
    async fn connect(to: SocketAddr) -> Self {
        Self(TcpStream::connect(to).await.unwrap())
    }

    /// Publishes events in one go and waits for the answers.
    async fn publish(&mut self, group: &str, events: &[String]) {
        let channel = format!("groupcast:group:{group}");
        let command = |event: &String| {
            format!(
                "*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${}\r\n{event}\r\n",
                channel.len(),
                event.len()
            )
        };
        let commands: String = events.iter().map(command).collect();
        self.0.write_all(commands.as_bytes()).await.unwrap();
        let (mut answered, mut buffer) = (0, vec![0; 65_536]);
        while answered < events.len() {
            let length = self.0.read(&mut buffer).await.unwrap();
            answered += buffer[..length].iter().filter(|byte| **byte == b'\n').count();
        }
    }
}

/// Counts the events and gaps of a member of the flooded group.
async fn sink(mut socket: Socket, counts: Arc<[AtomicU64; 3]>) {
    while let Received::Text(text) = socket.receive().await {
        let kind = match text.as_str() {
            r#"{"type":"ping"}"# => {
                socket.send(json!({"type": "pong"})).await;
                continue;
            }
            text if text.contains(r#""type":"fin""#) => 2,
            text if text.starts_with(r#"{"type":"gap""#) => 1,
            _ => 0,
        };
        counts[kind].fetch_add(1, Ordering::Relaxed);
    }
}

/// Publishes `count` events to the quiet group, and returns the median and p99 of their time to a
/// member, which misses none of them.
async fn quiet(
    server: &RedisServer,
    member: &mut Socket,
    count: u64,
    log: impl Fn() -> String,
) -> (Duration, Duration) {
    let mut program = Program::connect(server.address()).await;
    let began = Instant::now();
    let publishing = async {
        let mut ticks = interval(QUIET);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for n in 0..count {
            ticks.tick().await;
            let at = began.elapsed().as_micros();
            let event = format!(r#"{{"type":"tick","n":{n},"at":{at}}}"#);
            program.publish("sala_quieta", &[event]).await;
        }
    };
    let receiving = async {
        let mut times = Vec::new();
        for n in 0..count {
            let mut frame = member.frame().await;
            assert_eq!(frame["type"], "event", "{frame}\n{}", log());
            let event = frame["data"].take();
            assert_eq!(event["n"], n, "none is missing");
            let sent = Duration::from_micros(event["at"].as_u64().unwrap());
            times.push(began.elapsed().saturating_sub(sent));
        }
        times.sort();
        (times[times.len() / 2], times[times.len() - 1 - times.len() / 100])
    };
    tokio::join!(publishing, receiving).1
}

/// Publishes so many events a second to the flooded group, as far as Redis takes them.
async fn flood(server: SocketAddr, rate: u64) {
    let mut program = Program::connect(server).await;
    let mut ticks = interval(Duration::from_millis(10));
    let event = format!(r#"{{"type":"ola","x":"{}"}}"#, "x".repeat(100));
    let events = vec![event; (rate / 100) as usize];
    loop {
        ticks.tick().await;
        program.publish("sala_llena", &events).await;
    }
}

async fn members(gateway: &Endpoints, count: u64) -> Arc<[AtomicU64; 3]> {
    let counts = Arc::new([const { AtomicU64::new(0) }; 3]);
    for number in 0..count {
        let mut socket = gateway.v1(&format!("lleno{number}")).await;
        socket.join("sala_llena").await;
        tokio::spawn(sink(socket, Arc::clone(&counts)));
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_costs_other_groups_no_event_and_little_time() {
    let (count, rate) = (setting("FLOOD_MEMBERS", 10), setting("FLOOD_RATE", 3000));
    let ticks = setting("FLOOD_SECONDS", 4) * 20;
    let server = RedisServer::start_with(&[]).unwrap();
    let gateway = Instance::start(&over(&server)).await;
    gateway.ready().await;
    let counts = members(&gateway, count).await;
    let mut member = gateway.v1("quieta").await;
    member.join("sala_quieta").await;
    let control = quiet(&server, &mut member, 40, || gateway.log()).await;
    let flooding = tokio::spawn(flood(server.address(), rate));
    eventually("the flood", async || counts[0].load(Ordering::Relaxed) > 100 * count).await;
    let beside = quiet(&server, &mut member, ticks, || gateway.log()).await;
    flooding.abort();
    let lost = gateway.metric("groupcast_layer_lost_total").await;
    println!(
        "flood of {rate}/s to {count} members: {:.0} delivered, {lost} publications lost, {} gaps; \
         quiet group (median, p99): {beside:?}, alone: {control:?}",
        counts[0].load(Ordering::Relaxed),
        counts[1].load(Ordering::Relaxed),
    );
    assert_eq!(gateway.metric("groupcast_layer_subscription_lost_total").await, 0.0);
    // The member that was flooded is still served, and has been told if something was lost.
    Program::connect(server.address())
        .await
        .publish("sala_llena", &[r#"{"type":"fin"}"#.to_owned()])
        .await;
    eventually("the last event", async || counts[2].load(Ordering::Relaxed) == count).await;
    assert!(lost == 0.0 || counts[1].load(Ordering::Relaxed) >= count);
    assert!(beside.1 < control.1 + Duration::from_millis(500), "{beside:?} after {control:?}");
}
