//! Each way in which one Redis fails for a while, under publications that do not stop: publishers
//! are refused, what is lost is told by a gap, nothing arrives twice or out of order, and all is
//! back within two seconds of Redis.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::{Cost, Forwarder, Instance, OutageTrial, RedisServer, eventually, request};
use crate::two_instances::over;

/// The longest until delivery resumes once Redis answers.
const RESUMED: Duration = Duration::from_secs(2);

async fn two(server: &RedisServer) -> OutageTrial {
    OutageTrial::start(&[over(server), over(server)], "sala_1").await
}

/// That all was back soon after Redis was.
fn assert_resumed(cost: &Cost) {
    assert!(cost.resumed < RESUMED, "{cost:?}");
}

/// That members were told, too, that something may be missing.
fn assert_told(cost: &Cost) {
    assert_resumed(cost);
    assert!(cost.gaps.iter().all(|gaps| *gaps > 0), "{cost:?}");
}

async fn shows(trial: &OutageTrial, words: &str) {
    eventually(words, async || {
        let answer = request(trial.gateways[0].api, "GET /readyz?strict", &[], b"").await;
        answer.status == 503 && answer.body.contains(words)
    })
    .await;
}

async fn is_red(trial: &OutageTrial) {
    eventually("the loss to show", async || trial.gateways[0].strict().await == 503).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_costs_no_event_that_was_accepted() {
    let mut server = RedisServer::start();
    let trial = two(&server).await;
    server.kill();
    is_red(&trial).await;
    server.start_again();
    let cost = trial.end(Instant::now()).await;
    assert_told(&cost);
    assert!(cost.refused > 0, "{cost:?}");
    assert_eq!(cost.lost[0], 0, "what an instance accepts reaches its own members");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_are_made_anew() {
    let server = RedisServer::start();
    let trial = two(&server).await;
    for kind in ["normal", "pubsub"] {
        server.ask(&["CLIENT", "KILL", "TYPE", kind]);
    }
    assert_told(&trial.end(Instant::now()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_are_noticed_and_made_anew() {
    let server = RedisServer::start();
    let forwarder = Forwarder::to(server.address()).await;
    let configuration =
        over(&server).replace(&server.url(), &format!("redis://{}", forwarder.address));
    let trial = OutageTrial::start(&[configuration.clone(), configuration], "sala_1").await;
    forwarder.forget_connections();
    let since = Instant::now();
    is_red(&trial).await;
    let cost = trial.end(since).await;
    assert!(cost.resumed < Duration::from_secs(6), "{cost:?}");
    assert!(cost.gaps.iter().all(|gaps| *gaps > 0), "{cost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_five_seconds_refuses_publishers_and_loses_nothing_untold() {
    let server = RedisServer::start();
    let trial = two(&server).await;
    let length = Duration::from_secs(5);
    let until = Instant::now() + length;
    server.ask(&["CLIENT", "PAUSE", &length.as_millis().to_string()]);
    is_red(&trial).await;
    tokio::time::sleep_until(until.into()).await;
    let cost = trial.end(until).await;
    assert_resumed(&cost);
    assert!(cost.refused > 0, "{cost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_stopped_for_ten_seconds_delivers_again() {
    let server = RedisServer::start();
    let trial = two(&server).await;
    let pid = Pid::from_raw(server.pid() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    is_red(&trial).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    kill(pid, Signal::SIGCONT).unwrap();
    let cost = trial.end(Instant::now()).await;
    assert_resumed(&cost);
    assert!(cost.refused > 0, "{cost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_does_not_end_shows_by_its_words() {
    let server = RedisServer::start();
    server.ask(&["CONFIG", "SET", "lua-time-limit", "200"]);
    let trial = two(&server).await;
    let address = server.address();
    let script = std::thread::spawn(move || {
        let mut connection = crate::support::resp::Connection::open(address).unwrap();
        let _ = connection.ask(&[b"EVAL", b"while true do end", b"0"]);
    });
    shows(&trial, "BUSY").await;
    assert_eq!(server.ask(&["SCRIPT", "KILL"]), "+OK\r\n");
    let cost = trial.end(Instant::now()).await;
    script.join().unwrap();
    assert_resumed(&cost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_instances_are_cut_off_in_turn() {
    let server = RedisServer::start();
    let (mut paths, mut configurations) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let path = Forwarder::to(server.address()).await;
        let here = format!("redis://{}", path.address);
        configurations.push(over(&server).replace(&server.url(), &here));
        paths.push(path);
    }
    let trial = OutageTrial::start(&configurations, "pedido.1").await;
    for (path, gateway) in paths.iter().zip(&trial.gateways) {
        path.cut();
        eventually("the instance to be red", async || gateway.strict().await == 503).await;
        path.lead_to(server.address());
        gateway.ready().await;
    }
    let cost = trial.end(Instant::now()).await;
    assert_resumed(&cost);
    assert_eq!(cost.lost, [0, 0, 0], "the history has what an instance missed");
}

/// Redis ends the subscription of an instance that does not read (`client-output-buffer-limit`).
#[tokio::test]
async fn who_exceeds_the_output_buffer_limit_is_told_by_a_gap() {
    let server = RedisServer::start();
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1000000 1000000 1"];
    assert_eq!(server.ask(&limit), "+OK\r\n");
    let (slow, other) =
        (Instance::start(&over(&server)).await, Instance::start(&over(&server)).await);
    for instance in [&slow, &other] {
        instance.ready().await;
    }
    let mut member = slow.v1("7").await;
    member.join("sala_1").await;
    slow.signal(Signal::SIGSTOP);
    let event = json!({"type": "grande", "relleno": "~".repeat(30_000)});
    let subscribers = || server.ask(&["PUBSUB", "NUMSUB", "groupcast:group:sala_1"]);
    eventually("the subscription to be ended", async || {
        other.publish("sala_1", event.clone()).await;
        subscribers().ends_with(":0\r\n")
    })
    .await;
    slow.signal(Signal::SIGCONT);
    slow.ready().await;
    loop {
        let frame = member.frame().await;
        if frame["possible"] == true {
            break assert_eq!(frame["type"], "gap", "{frame}");
        }
    }
    slow.publish("sala_1", json!({"type": "sigue"})).await;
    while member.frame().await["data"]["type"] != "sigue" {}
}
