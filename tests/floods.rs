//! A flood in one group neither delays other groups nor costs them an event.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use crate::support::resp::command;
use crate::support::{Endpoints, Instance, Received, RedisServer, Socket, eventually};
use crate::two_instances::over;

/// Between two events of the quiet group.
const QUIET: Duration = Duration::from_millis(50);

/// What an unoptimized build on a busy machine may take longer. The long form prints what it took.
pub(crate) const SLACK: Duration = Duration::from_secs(3);

/// A setting from the environment, for long runs.
fn setting(name: &str, short: u64) -> u64 {
    std::env::var(name).map_or(short, |value| value.parse().unwrap())
}

/// A connection that publishes events as any program may.
pub(crate) struct Program(TcpStream);

impl Program {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self(TcpStream::connect(to).await.unwrap())
    }

    /// Publishes events in one go and waits for the answers.
    pub(crate) async fn publish(&mut self, group: &str, events: &[String]) {
        let channel = format!("groupcast:group:{group}");
        let publish = |event: &String| {
            vec![b"PUBLISH".to_vec(), channel.clone().into(), event.clone().into()]
        };
        self.ask(events.iter().map(publish)).await;
    }

    /// Sends commands with integers for answers in one go, and waits for these.
    pub(crate) async fn ask(&mut self, commands: impl ExactSizeIterator<Item = Vec<Vec<u8>>>) {
        let (mut request, count) = (Vec::new(), commands.len());
        for words in commands {
            command(&mut request, &words.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
        self.0.write_all(&request).await.unwrap();
        let (mut answered, mut buffer) = (0, vec![0; 65_536]);
        while answered < count {
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
    let to_group = |event: String| {
        vec![b"PUBLISH".to_vec(), b"groupcast:group:sala_quieta".to_vec(), event.into()]
    };
    quiet_by(server, member, count, log, to_group).await
}

/// The same, by the command that `publish` makes of an event.
pub(crate) async fn quiet_by(
    server: &RedisServer,
    member: &mut Socket,
    count: u64,
    log: impl Fn() -> String,
    publish: impl Fn(String) -> Vec<Vec<u8>>,
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
            program.ask(std::iter::once(publish(event))).await;
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

/// Publishes so many events of so many bytes a second to a group, as far as Redis takes them.
async fn flood(server: SocketAddr, group: &str, rate: u64, bytes: usize) {
    let mut program = Program::connect(server).await;
    let mut ticks = interval(Duration::from_millis(10));
    let event = format!(r#"{{"type":"ola","x":"{}"}}"#, "x".repeat(bytes));
    let events = vec![event; (rate / 100) as usize];
    loop {
        ticks.tick().await;
        program.publish(group, &events).await;
    }
}

/// So many members of a group, and how many events, gaps and last events they have received.
pub(crate) async fn members(gateway: &Endpoints, group: &str, count: u64) -> Arc<[AtomicU64; 3]> {
    let counts = Arc::new([const { AtomicU64::new(0) }; 3]);
    for number in 0..count {
        let mut socket = gateway.v1(&format!("lleno{number}")).await;
        let answer = socket.ask(json!({"type": "join", "groups": [group]})).await;
        assert_eq!(answer["type"], "joined");
        tokio::spawn(sink(socket, Arc::clone(&counts)));
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_costs_other_groups_no_event_and_little_time() {
    let (count, rate) = (setting("FLOOD_MEMBERS", 10), setting("FLOOD_RATE", 1000));
    let ticks = setting("FLOOD_SECONDS", 4) * 20;
    let server = RedisServer::start_with(&[]).unwrap();
    let gateway = Instance::start(&over(&server)).await;
    gateway.ready().await;
    let counts = members(&gateway, "sala_llena", count).await;
    let mut member = gateway.v1("quieta").await;
    member.join("sala_quieta").await;
    let control = quiet(&server, &mut member, 40, || gateway.log()).await;
    let flooding = tokio::spawn(flood(server.address(), "sala_llena", rate, 100));
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
    assert!(beside.1 < control.1 + SLACK, "{beside:?} after {control:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_floods_cost_others_nothing_though_events_are_large_and_one_has_a_history() {
    let server = RedisServer::start();
    let gateway = Instance::start(&over(&server)).await;
    gateway.ready().await;
    let llena = members(&gateway, "sala_llena", 10).await;
    let pedido = members(&gateway, "pedido.1", 10).await;
    let mut member = gateway.v1("quieta").await;
    member.join("sala_quieta").await;
    let control = quiet(&server, &mut member, 20, || gateway.log()).await;
    let floods = [
        tokio::spawn(flood(server.address(), "sala_llena", 1000, 100)),
        tokio::spawn(flood(server.address(), "pedido.1", 100, 30_000)),
    ];
    eventually("the floods", async || {
        [&llena, &pedido].iter().all(|counts| counts[0].load(Ordering::Relaxed) > 100)
    })
    .await;
    let beside = quiet(&server, &mut member, 60, || gateway.log()).await;
    floods.iter().for_each(|flood| flood.abort());
    println!("quiet group (median, p99): {beside:?}, alone: {control:?}");
    assert_eq!(gateway.metric("groupcast_layer_subscription_lost_total").await, 0.0);
    assert!(beside.1 < control.1 + SLACK, "{beside:?} after {control:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_takes_effect_at_its_place_during_a_flood() {
    let server = RedisServer::start();
    let gateway = Instance::start(&over(&server)).await;
    gateway.ready().await;
    let counts = members(&gateway, "sala_llena", 10).await;
    let mut member = gateway.v1("quieta").await;
    let flooding = tokio::spawn(flood(server.address(), "sala_llena", 2000, 100));
    eventually("the flood", async || counts[0].load(Ordering::Relaxed) > 1000).await;
    let membership = "/groups/sala_quieta/members/user:quieta";
    for round in 0..3 {
        let began = Instant::now();
        assert_eq!(gateway.ask(&format!("PUT {membership}"), &[], "").await.status, 202);
        assert_eq!(member.frame().await["type"], "joined");
        accepted(&gateway, "sala_quieta", "antes").await;
        assert_eq!(gateway.ask(&format!("DELETE {membership}"), &[], "").await.status, 202);
        accepted(&gateway, "sala_quieta", "secreto").await;
        assert_eq!(member.frame().await["data"]["type"], "antes", "round {round}");
        assert_eq!(member.frame().await["type"], "left", "round {round}");
        assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    }
    accepted(&gateway, "sala_quieta", "secreto").await;
    assert_eq!(gateway.ask("POST /users/quieta/close", &[], "").await.status, 202);
    assert_eq!(member.closed().await.0, 4403, "nothing comes before it");
    flooding.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_join_during_a_flood_without_renewing_the_subscription() {
    let server = RedisServer::start_with(&[]).unwrap();
    let gateway = Instance::start(&over(&server)).await;
    gateway.ready().await;
    let counts = members(&gateway, "sala_llena", 2).await;
    let mut member = gateway.v1("quieta").await;
    let flooding = tokio::spawn(flood(server.address(), "sala_llena", 20_000, 100));
    eventually("the flood", async || counts[0].load(Ordering::Relaxed) > 1000).await;
    let end = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(setting("FLOOD_SECONDS", 4))).await;
        flooding.abort();
    });
    let mut joined = 0;
    // Within the limit of frames.
    let mut ticks = interval(Duration::from_millis(60));
    while !end.is_finished() {
        ticks.tick().await;
        let group = format!("sala_{joined}");
        member.join(&group).await;
        member.ask(json!({"type": "leave", "groups": [group]})).await;
        joined += 1;
    }
    println!("{joined} joins during the flood");
    assert_eq!(gateway.metric("groupcast_layer_subscription_lost_total").await, 0.0);
}

/// Publishes an event, again while it would be late.
async fn accepted(gateway: &Endpoints, group: &str, kind: &str) {
    let (line, event) = (format!("POST /groups/{group}/send"), json!({"type": kind}).to_string());
    eventually("the event to be accepted", async || {
        gateway.ask(&line, &[], &event).await.status == 202
    })
    .await;
}

/// Publishes as fast as it is answered. Returns how many were accepted and how many refused.
async fn publish_flat_out(gateway: &Endpoints, began: Instant, span: Duration) -> (u64, u64) {
    let (mut accepted, mut refused) = (0, 0);
    while began.elapsed() < span {
        let at = began.elapsed().as_micros();
        let event = json!({"type": "ola", "at": at, "x": "x".repeat(100)});
        let one = json!({"groups": ["sala_llena"], "event": event});
        let batch = json!({"publications": vec![one; 64]}).to_string();
        let answer = gateway.ask("POST /batch", &[], &batch).await;
        for result in answer.json()["results"].as_array().unwrap() {
            match result["problem"]["code"].as_str() {
                None => accepted += 1,
                Some("busy") => refused += 1,
                Some(other) => panic!("{other}"),
            }
        }
    }
    (accepted, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_that_send_flat_out_are_refused_before_events_are_late() {
    let server = RedisServer::start();
    let gateway = Instance::start(&over(&server)).await;
    gateway.ready().await;
    refuses_in_time(&gateway, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_are_refused_before_events_are_late_on_another_instance() {
    let server = RedisServer::start();
    let [publishing, listening] =
        [Instance::start(&over(&server)).await, Instance::start(&over(&server)).await];
    for gateway in [&publishing, &listening] {
        gateway.ready().await;
    }
    refuses_in_time(&publishing, &listening).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_wait_or_are_refused_before_events_are_late_in_memory() {
    let gateway = Instance::start("").await;
    gateway.ready().await;
    refuses_in_time(&gateway, &gateway).await;
}

/// That nothing is late or lost that `publishing` accepts for members on `listening`.
async fn refuses_in_time(publishing: &Endpoints, listening: &Endpoints) {
    members(listening, "sala_llena", setting("FLOOD_MEMBERS", 40)).await;
    let mut member = listening.v1("testigo").await;
    member.join("sala_llena").await;
    let (began, span) = (Instant::now(), Duration::from_secs(setting("FLOOD_SECONDS", 4)));
    let watching = tokio::spawn(async move {
        let (mut times, mut read_slowly) = (Vec::new(), 0);
        loop {
            let mut frame = member.frame().await;
            if frame["reason"] == "slow" {
                read_slowly += frame["lost"].as_u64().unwrap();
                continue;
            }
            assert_eq!(frame["type"], "event", "what is accepted is not lost: {frame}");
            let event = frame["data"].take();
            if event["type"] == "fin" {
                times.sort();
                return (times, read_slowly);
            }
            let sent = Duration::from_micros(event["at"].as_u64().unwrap());
            times.push(began.elapsed().saturating_sub(sent));
        }
    });
    let publish = || publish_flat_out(publishing, began, span);
    let counts = tokio::join!(publish(), publish(), publish(), publish());
    let counts = [counts.0, counts.1, counts.2, counts.3];
    let [taken, refused] =
        [counts.map(|it| it.0), counts.map(|it| it.1)].map(|it| it.iter().sum::<u64>());
    accepted(publishing, "sala_llena", "fin").await;
    let (times, read_slowly) = watching.await.unwrap();
    let (median, p99) = (times[times.len() / 2], times[times.len() - 1 - times.len() / 100]);
    println!("{taken} accepted, {refused} refused; median {median:?}, p99 {p99:?}");
    assert_eq!(times.len() as u64 + read_slowly, taken);
    assert!(p99 < SLACK, "{p99:?}");
}
