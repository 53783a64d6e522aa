//! A flood from whatever side: Django's `group_send`, browsers, events for one user.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use std::sync::atomic::Ordering;
use tokio::time::interval;

use crate::floods::{Program, SLACK, members, quiet_by};
use crate::support::{Instance, Received, RedisServer, Socket, eventually};
use crate::two_instances::over;

/// Messages of Django in clear JSON, in one mailbox.
const CHANNELS: &str = "[channels]\nreceive = [\"core\"]\nserializer = \"json\"\n\
    random_prefix_length = 0\nboxes = 1\ncapacity = 100000\n";

const LIMITS: &str = "[limits]\nframes_per_second = 10000\nframe_burst = 10000\n";

/// The command by which `group_send` writes an event for a group.
fn group_send(group: &str, event: &str) -> Vec<Vec<u8>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let fields = event.strip_suffix('}').unwrap();
    let channel = format!("groupcast.groupcast.0!{group}");
    let message = format!(r#"{fields},"__asgi_channel__":["{channel}"]}}"#);
    vec![
        b"ZADD".to_vec(),
        b"asgigroupcast.groupcast.0!".to_vec(),
        format!("{now:.6}").into(),
        message.into(),
    ]
}

/// The command that publishes an event for a user, as an instance does.
fn to_user(sub: &str, id: u128, event: &str) -> Vec<Vec<u8>> {
    let head = [&b"\x01\x01aaaaaaaa"[..], &id.to_be_bytes(), b"\x00\x00"].concat();
    let envelope = [&head[..], &[sub.len() as u8], sub.as_bytes(), event.as_bytes()].concat();
    vec![b"PUBLISH".to_vec(), b"groupcast:user".to_vec(), envelope]
}

/// Repeats commands a hundred times a second, so many at once, with a number of each.
async fn repeat(server: &RedisServer, at_once: u64, make: impl Fn(u64) -> Vec<Vec<u8>>) {
    let mut program = Program::connect(server.address()).await;
    let mut ticks = interval(Duration::from_millis(10));
    for turn in 0.. {
        ticks.tick().await;
        let numbers: Vec<_> = (turn * at_once..(turn + 1) * at_once).collect();
        program.ask(numbers.into_iter().map(&make)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_group_send_costs_other_groups_no_event_and_little_time() {
    let server = RedisServer::start_with(&[]).unwrap();
    let gateway = Instance::start(&format!("{}{CHANNELS}", over(&server))).await;
    gateway.ready().await;
    let counts = members(&gateway, "sala_llena", 5).await;
    let mut member = gateway.v1("quieta").await;
    member.join("sala_quieta").await;
    let send = |event: String| group_send("sala_quieta", &event);
    let control = quiet_by(&server, &mut member, 20, || gateway.log(), send).await;
    let padding = "x".repeat(100);
    let flood =
        |n| group_send("sala_llena", &format!(r#"{{"type":"ola","n":{n},"x":"{padding}"}}"#));
    let quiet = async {
        let began = async || counts[0].load(Ordering::Relaxed) > 200;
        eventually("the flood", began).await;
        quiet_by(&server, &mut member, 60, || gateway.log(), send).await
    };
    let beside = tokio::select! {
        beside = quiet => beside,
        () = repeat(&server, 5, flood) => unreachable!("it has no end"),
    };
    println!("beside a flood of group_send (median, p99): {beside:?}, alone: {control:?}");
    assert!(beside.1 < control.1 + SLACK, "{beside:?} after {control:?}");
}

/// Sends without end, whatever is answered.
async fn send_on(mut socket: Socket) {
    let data = json!({"type": "ola", "x": "x".repeat(100)});
    for id in 0_u64.. {
        let send = json!({"type": "send", "id": id, "group": "sala_llena", "data": data});
        if socket.try_send(send).await.is_none() {
            return;
        }
        if id >= 16 && matches!(socket.receive().await, Received::Gone) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_browsers_sends_costs_other_groups_no_event_and_little_time() {
    let server = RedisServer::start_with(&[]).unwrap();
    let gateway = Instance::start(&format!("{}{LIMITS}", over(&server))).await;
    gateway.ready().await;
    let counts = members(&gateway, "sala_llena", 5).await;
    let mut member = gateway.v1("quieta").await;
    member.join("sala_quieta").await;
    let publish = |event: String| {
        vec![b"PUBLISH".to_vec(), b"groupcast:group:sala_quieta".to_vec(), event.into()]
    };
    let control = quiet_by(&server, &mut member, 20, || gateway.log(), publish).await;
    let mut sending = tokio::task::JoinSet::new();
    for number in 0..10 {
        sending.spawn(send_on(gateway.v1(&format!("emisor{number}")).await));
    }
    eventually("the flood", async || counts[0].load(Ordering::Relaxed) > 200).await;
    let beside = quiet_by(&server, &mut member, 60, || gateway.log(), publish).await;
    println!("beside a flood of sends (median, p99): {beside:?}, alone: {control:?}");
    assert!(beside.1 < control.1 + SLACK, "{beside:?} after {control:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_to_one_user_costs_other_users_no_event_and_little_time() {
    let server = RedisServer::start_with(&[]).unwrap();
    let gateway = Instance::start(&over(&server)).await;
    gateway.ready().await;
    let mut flooded = gateway.v1("llena").await;
    // One in 64 shares the queue of the flooded one.
    let mut quiet: Vec<Socket> = Vec::new();
    for number in 0..2 {
        quiet.push(gateway.v1(&format!("quieta{number}")).await);
    }
    tokio::spawn(async move { while flooded.receive().await != Received::Gone {} });
    let id = std::sync::atomic::AtomicU64::new(1 << 32);
    let next = || u128::from(id.fetch_add(1, Ordering::Relaxed));
    let padding = "x".repeat(100);
    let flood = |n: u64| {
        let event = format!(r#"{{"type":"ola","n":{n},"x":"{padding}"}}"#);
        to_user("llena", u128::from(n), &event)
    };
    let to = |sub: &'static str| move |event: String| to_user(sub, next(), &event);
    let [first, second] = &mut quiet[..] else { unreachable!("there are two") };
    let control = quiet_by(&server, first, 20, || gateway.log(), to("quieta0")).await;
    let measuring = async {
        let one = quiet_by(&server, first, 60, || gateway.log(), to("quieta0"));
        let two = quiet_by(&server, second, 60, || gateway.log(), to("quieta1"));
        tokio::join!(one, two)
    };
    let beside = tokio::select! {
        beside = measuring => beside,
        () = repeat(&server, 100, flood) => unreachable!("it has no end"),
    };
    println!("beside a flood to one user (median, p99): {beside:?}, alone: {control:?}");
    let best = beside.0.1.min(beside.1.1);
    assert!(best < control.1 + SLACK, "{beside:?} after {control:?}");
}
