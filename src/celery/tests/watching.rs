//! The watcher over a real Redis, which the tests write as Celery does.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::celery::workers::WorkersSnapshot;
use crate::celery::{
    CeleryMetrics, CelerySettings, Quotas, StartedWatcher, TaskUpdate, TaskWatcher,
};
use crate::event::{ConnectionId, InstanceId};
use crate::group::GroupName;
use crate::layer::RedisSettings;
use crate::layer::tests::server::RedisServer;
use crate::telemetry::Metrics;

/// Far longer than anything here takes, so that only a hang reaches it.
const LONG: Duration = Duration::from_secs(20);

pub(super) struct Watching {
    watcher: TaskWatcher,
    updates: mpsc::Receiver<TaskUpdate>,
    metrics: Arc<Metrics>,
    task: JoinHandle<()>,
}

pub(super) fn watching(server: &RedisServer) -> Watching {
    let redis = RedisSettings::new(&server.url()).unwrap();
    let key_prefix = "site_".to_owned();
    watching_with(CelerySettings { results: Some(redis), key_prefix, ..Default::default() })
}

pub(super) fn watching_with(settings: CelerySettings) -> Watching {
    let metrics = Arc::new(Metrics::new());
    let started =
        TaskWatcher::start(&settings, CeleryMetrics::new(&metrics), Quotas::default()).unwrap();
    let StartedWatcher { handle, updates, run } = started.expect("something is configured");
    Watching { watcher: handle, updates, metrics, task: tokio::spawn(run) }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watching {
    pub(super) async fn join(&self, task: &str, serial: u64) {
        self.watcher.joined(group(task), 0, member(serial)).await;
    }

    /// Nobody watches this task any more.
    pub(super) async fn leave(&self, task: &str) {
        self.watcher.idle(&[group(task)]).await;
    }

    /// The next state, and the serial number of the member that it is for, if only one.
    pub(super) async fn next(&mut self) -> (Option<u64>, Value) {
        let update = timeout(LONG, self.updates.recv()).await.expect("a state arrives");
        let TaskUpdate { to, event, .. } = update.expect("the watcher runs");
        let json = serde_json::from_slice(event.json()).unwrap();
        (to.map(|(_, member)| member.serial), json)
    }

    /// The next state that is for all members.
    pub(super) async fn state(&mut self) -> Value {
        let (to, event) = self.next().await;
        assert_eq!(to, None, "{event}");
        event
    }

    /// What the events of workers have told.
    pub(super) fn workers(&self) -> WorkersSnapshot {
        self.watcher.workers().expect("events are followed")
    }

    /// Waits until this metric has this value.
    pub(super) async fn counts(&self, name: &str, value: f64) {
        until(name, || self.metric(name) == value).await;
    }

    pub(super) fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
    }
}

fn group(task: &str) -> GroupName {
    GroupName::parse(&format!("task.{task}")).unwrap()
}

fn member(serial: u64) -> ConnectionId {
    ConnectionId { instance: InstanceId::from_random([7; 5]), serial }
}

/// Stores a state and publishes it, as the back end of Celery does in one transaction.
pub(super) fn write(server: &RedisServer, task: &str, value: &str) {
    write_key(server, &format!("site_celery-task-meta-{task}"), value);
}

pub(super) fn write_key(server: &RedisServer, key: &str, value: &str) {
    const SCRIPT: &str = "redis.call('SETEX', KEYS[1], 60, ARGV[1])
        return redis.call('PUBLISH', KEYS[1], ARGV[1])";
    server.ask(&["EVAL", SCRIPT, "1", key, value]);
}

fn progress(n: u64) -> String {
    json!({"status": "PROGRESS", "result": {"n": n}, "traceback": null}).to_string()
}

fn shown(task: &str, n: u64) -> Value {
    json!({"type": "task.state", "id": task, "state": "PROGRESS", "progress": {"n": n}})
}

pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn reads_the_state_first_and_then_every_change() {
    let server = RedisServer::start();
    write(&server, "a", &progress(1));
    let mut watching = watching(&server);
    watching.join("a", 1).await;
    assert_eq!(watching.state().await, shown("a", 1));
    for n in 2..=50 {
        write(&server, "a", &progress(n));
        assert_eq!(watching.state().await, shown("a", n));
    }
    write(&server, "a", r#"{"status":"SUCCESS","result":null}"#);
    assert_eq!(watching.state().await["state"], "SUCCESS");
}

#[tokio::test]
async fn gives_the_present_state_to_a_member_that_comes_later_and_to_no_other() {
    let server = RedisServer::start();
    let mut watching = watching(&server);
    watching.join("a", 1).await;
    assert_eq!(watching.state().await["state"], "PENDING");
    write(&server, "a", &progress(1));
    assert_eq!(watching.state().await, shown("a", 1));
    watching.join("a", 2).await;
    assert_eq!(watching.next().await, (Some(2), shown("a", 1)));
}

#[tokio::test]
async fn subscribes_only_what_is_watched() {
    let server = RedisServer::start();
    let mut watching = watching(&server);
    let channels = || server.ask(&["PUBSUB", "CHANNELS", "*celery-task-meta-*"]);
    watching.join("a", 1).await;
    watching.state().await;
    assert_eq!(channels(), "*1\r\n$23\r\nsite_celery-task-meta-a\r\n");
    watching.watcher.idle(&[group("a"), GroupName::parse("sala_1").unwrap()]).await;
    until("nothing is subscribed", || channels() == "*0\r\n").await;
    assert_eq!(watching.metric("groupcast_celery_watched_tasks"), 0.0);
    watching.join("a", 2).await;
    assert_eq!(watching.state().await["state"], "PENDING", "watched again");
}

#[tokio::test]
async fn reads_again_what_changed_while_the_result_back_end_was_away() {
    let mut server = RedisServer::start();
    let mut watching = watching(&server);
    for task in ["a", "b"] {
        write(&server, task, &progress(1));
        watching.join(task, 1).await;
        assert_eq!(watching.state().await, shown(task, 1));
    }
    server.kill();
    watching.join("c", 1).await;
    server.start_again();
    write(&server, "a", &progress(2));
    let answered = Instant::now();
    let mut states = [watching.state().await, watching.state().await];
    assert!(answered.elapsed() < Duration::from_secs(2), "{:?}", answered.elapsed());
    states.sort_by_key(|state| state["id"].to_string());
    assert_eq!(states[0], shown("a", 2), "b has not changed");
    assert_eq!(states[1]["state"], "PENDING");
    write(&server, "b", &progress(3));
    assert_eq!(watching.state().await, shown("b", 3));
}

#[tokio::test]
async fn reads_all_states_anew_and_counts_it_when_the_subscription_is_cut() {
    let server = RedisServer::start();
    let mut watching = watching(&server);
    for task in ["a", "b"] {
        watching.join(task, 1).await;
        assert_eq!(watching.state().await["state"], "PENDING");
    }
    let before = watching.metric("groupcast_celery_reread_total");
    // Stored, but not published: only who reads anew can know it.
    server.ask(&["SETEX", "site_celery-task-meta-b", "60", &progress(1)]);
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_eq!(watching.state().await, shown("b", 1));
    until("all is read anew", || watching.metric("groupcast_celery_reread_total") > before).await;
    write(&server, "a", &progress(2));
    assert_eq!(watching.state().await, shown("a", 2), "it is subscribed again");
}

#[tokio::test]
async fn tells_each_retry_although_it_looks_like_the_one_before() {
    let server = RedisServer::start();
    let mut watching = watching(&server);
    watching.join("a", 1).await;
    watching.state().await;
    let retry = r#"{"status":"RETRY","result":{"exc_type":"ValueError"},"traceback":null}"#;
    for _ in 0..3 {
        write(&server, "a", retry);
        assert_eq!(watching.state().await["state"], "RETRY");
    }
    // What is only read anew is no retry.
    let before = watching.metric("groupcast_celery_reread_total");
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until("all is read anew", || watching.metric("groupcast_celery_reread_total") > before).await;
    watching.join("b", 1).await;
    assert_eq!(watching.state().await["id"], "b");
    write(&server, "a", &progress(1));
    assert_eq!(watching.state().await, shown("a", 1));
}

#[tokio::test]
async fn reads_again_what_changed_when_a_result_back_end_that_hung_answers() {
    let server = RedisServer::start();
    let redis = Pid::from_raw(server.pid() as i32);
    let mut watching = watching(&server);
    watching.join("a", 1).await;
    assert_eq!(watching.state().await["state"], "PENDING");
    kill(redis, Signal::SIGSTOP).unwrap();
    watching.join("b", 1).await;
    watching.counts("groupcast_celery_up", 0.0).await;
    kill(redis, Signal::SIGCONT).unwrap();
    let answered = Instant::now();
    write(&server, "a", &progress(1));
    let mut states = [watching.state().await, watching.state().await];
    assert!(answered.elapsed() < Duration::from_secs(2), "{:?}", answered.elapsed());
    states.sort_by_key(|state| state["id"].to_string());
    assert_eq!(states[0], shown("a", 1));
    assert_eq!((&states[1]["id"], &states[1]["state"]), (&json!("b"), &json!("PENDING")));
    write(&server, "b", &progress(2));
    assert_eq!(watching.state().await, shown("b", 2), "it is subscribed");
    assert_eq!(watching.metric("groupcast_celery_up"), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_only_the_newest_state_for_who_does_not_keep_up() {
    let server = RedisServer::start();
    let mut watching = watching(&server);
    watching.join("a", 1).await;
    watching.state().await;
    for n in 1..=10_000 {
        write(&server, "a", &progress(n));
    }
    let mut received = 0;
    loop {
        received += 1;
        if watching.state().await == shown("a", 10_000) {
            break;
        }
    }
    assert!(received <= 5_000, "{received} of 10,000");
    assert!(watching.metric("groupcast_celery_superseded_total") > 0.0);
}

#[tokio::test]
async fn discards_and_counts_foreign_values_and_goes_on() {
    let server = RedisServer::start();
    let mut watching = watching(&server);
    watching.join("a", 1).await;
    watching.state().await;
    for value in ["\u{80}\u{4}]q", "{", "[]", ""] {
        write(&server, "a", value);
    }
    write(&server, "a", &progress(1));
    assert_eq!(watching.state().await, shown("a", 1));
    assert!(watching.metric("groupcast_celery_malformed_total") >= 3.0);
}

#[tokio::test]
async fn a_key_of_another_type_costs_no_other_task_its_state() {
    let server = RedisServer::start();
    server.ask(&["LPUSH", "site_celery-task-meta-list", "x"]);
    let mut watching = watching(&server);
    for task in ["list", "a", "b"] {
        watching.join(task, 1).await;
    }
    let mut ids =
        [watching.state().await["id"].to_string(), watching.state().await["id"].to_string()];
    ids.sort();
    assert_eq!(ids, ["\"a\"", "\"b\""]);
    watching.counts("groupcast_celery_malformed_total", 1.0).await;
    server.ask(&["DEL", "site_celery-task-meta-list"]);
    write(&server, "list", &progress(1));
    assert_eq!(watching.state().await, shown("list", 1));
}

#[tokio::test]
async fn watches_thousands_of_tasks() {
    let server = RedisServer::start();
    let mut watching = watching(&server);
    for n in 0..2_000 {
        watching.join(&format!("t{n}"), n).await;
    }
    let mut pending = 0;
    while pending < 2_000 {
        assert_eq!(watching.state().await["state"], "PENDING");
        pending += 1;
    }
    write(&server, "t1999", &progress(1));
    assert_eq!(watching.state().await, shown("t1999", 1));
}
