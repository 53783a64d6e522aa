//! States from the events of workers, over a real Redis.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::watching::{Watching, watching_with};
use crate::celery::worker_event::{WorkerEvent, body, events};
use crate::celery::{CelerySettings, WorkerEvents};
use crate::layer::RedisSettings;
use crate::layer::tests::server::RedisServer;

/// The task of the recorded events about one that succeeded.
const RECORDED: &str = "3196efa4-02d0-4c54-9185-c1d43188150e";

/// A message that Celery 5.7 published over kombu's Redis transport.
fn recorded(kind: &str) -> String {
    let text = include_str!("../../../tests/golden/celery-events.json");
    let all: Value = serde_json::from_str(text).expect("the recording is JSON");
    all[kind].as_str().expect("the recording has this kind").to_owned()
}

/// A message with these events in clear text.
fn message(events: &Value) -> String {
    json!({"body": events.to_string(), "properties": {}}).to_string()
}

fn progress(at: f64, n: u64) -> Value {
    json!({"type": "task-progress", "uuid": "a", "timestamp": at, "progress": {"n": n}})
}

async fn following(server: &RedisServer) -> Watching {
    let redis = RedisSettings::new(&server.url()).unwrap();
    let events = WorkerEvents::Redis { server: redis, channels: "/3.celeryev/*".to_owned() };
    let settings = CelerySettings { events: Some(events), ..Default::default() };
    let watching = watching_with(settings);
    let subscribed = || server.ask(&["PUBSUB", "NUMPAT"]) == ":1\r\n";
    super::watching::until("the channels are subscribed", subscribed).await;
    watching
}

fn publish(server: &RedisServer, message: &str) {
    server.ask(&["PUBLISH", "/3.celeryev/task.multi", message]);
}

#[test]
fn reads_every_recorded_message() {
    let states = |kind: &str| {
        let body = body(recorded(kind).as_bytes()).unwrap();
        let events = events(&body).unwrap();
        let state = |event: &WorkerEvent<'_>| event.state().map(Cow::into_owned);
        events.iter().map(|event| state(event.as_ref().unwrap())).collect::<Vec<_>>()
    };
    let state = |name: &str| vec![Some(name.to_owned())];
    assert_eq!(states("task-received"), state("RECEIVED"));
    assert_eq!(states("task-started"), state("STARTED"));
    assert_eq!(states("task-succeeded"), state("SUCCESS"));
    assert_eq!(states("task-failed"), state("FAILURE"));
    assert_eq!(states("task-retried"), state("RETRY"));
    assert_eq!(states("task-progress"), state("PROGRESS"));
    assert!(states("multi2").len() > 1, "a list");
    for kind in ["worker-online", "worker-heartbeat", "worker-offline", "task-sent"] {
        assert_eq!(states(kind), [None], "{kind}");
    }
}

#[tokio::test]
async fn shows_what_workers_report_and_what_they_reported_before() {
    let server = RedisServer::start();
    let mut watching = following(&server).await;
    publish(&server, &recorded("task-received"));
    publish(&server, &recorded("task-started"));
    watching.counts("groupcast_celery_events_total", 2.0).await;
    watching.join(RECORDED, 1).await;
    assert_eq!(watching.state().await["state"], "STARTED");
    publish(&server, &recorded("task-succeeded"));
    let success = json!({"type": "task.state", "id": RECORDED, "state": "SUCCESS"});
    assert_eq!(watching.state().await, success);
    watching.join("unknown", 1).await;
    assert_eq!(watching.state().await["state"], "PENDING");
}

#[tokio::test]
async fn ignores_what_arrives_late() {
    let server = RedisServer::start();
    let mut watching = following(&server).await;
    watching.join("a", 1).await;
    assert_eq!(watching.state().await["state"], "PENDING");
    publish(&server, &message(&progress(5.0, 2)));
    assert_eq!(watching.state().await["progress"], json!({"n": 2}));
    let started = json!({"type": "task-started", "uuid": "a", "timestamp": 4.0});
    publish(&server, &message(&started));
    let succeeded = json!({"type": "task-succeeded", "uuid": "a", "timestamp": 6.0});
    publish(&server, &message(&json!([succeeded, progress(7.0, 3)])));
    assert_eq!(watching.state().await["state"], "SUCCESS");
    watching.counts("groupcast_celery_events_total", 4.0).await;
    watching.join("a", 2).await;
    let (to, event) = watching.next().await;
    assert_eq!((to, &event["state"]), (Some(2), &json!("SUCCESS")));
}

#[tokio::test]
async fn a_worker_whose_clock_is_behind_or_was_set_back_is_heard() {
    let server = RedisServer::start();
    let mut watching = following(&server).await;
    watching.join("a", 1).await;
    watching.state().await;
    let event = |kind: &str, worker: &str, at: f64| {
        message(&json!({"type": kind, "uuid": "a", "hostname": worker, "timestamp": at}))
    };
    let heard = [
        ("task-started", "celery@adelantado", 9000.0, "STARTED"),
        ("task-retried", "celery@adelantado", 9001.0, "RETRY"),
        ("task-started", "celery@exacto", 5000.0, "STARTED"),
        ("task-retried", "celery@exacto", 1000.0, "RETRY"),
        ("task-succeeded", "celery@adelantado", 999.0, "SUCCESS"),
    ];
    for (kind, worker, at, state) in heard {
        publish(&server, &event(kind, worker, at));
        assert_eq!(watching.state().await["state"], state, "{kind} of {worker} at {at}");
    }
}

#[tokio::test]
async fn discards_foreign_messages_and_goes_on() {
    let server = RedisServer::start();
    let mut watching = following(&server).await;
    watching.join("a", 1).await;
    watching.state().await;
    let base64 = r#"{"body": "!", "properties": {"body_encoding": "base64"}}"#;
    let pickle = r#"{"body": "gASVCg==", "properties": {"body_encoding": "base64"}}"#;
    let unknown = r#"{"body": "{}", "properties": {"body_encoding": "rot13"}}"#;
    let messages = ["\u{80}", "{}", "[1]", base64, pickle, unknown];
    for message in messages {
        publish(&server, message);
    }
    publish(&server, &message(&progress(1.0, 1)));
    assert_eq!(watching.state().await["progress"], json!({"n": 1}));
    assert_eq!(watching.metric("groupcast_celery_malformed_total"), messages.len() as f64);
}

#[tokio::test]
async fn follows_again_when_the_broker_is_back() {
    let mut server = RedisServer::start();
    let mut watching = following(&server).await;
    watching.join("a", 1).await;
    watching.state().await;
    server.kill();
    server.start_again();
    let subscribed = || server.ask(&["PUBSUB", "NUMPAT"]) == ":1\r\n";
    super::watching::until("the channels are subscribed again", subscribed).await;
    publish(&server, &message(&progress(1.0, 1)));
    assert_eq!(watching.state().await["progress"], json!({"n": 1}));
    assert!(watching.metric("groupcast_celery_events_lost_total") >= 1.0);
}

#[tokio::test]
async fn an_odd_event_of_another_version_costs_no_other_of_its_message() {
    let server = RedisServer::start();
    let mut watching = following(&server).await;
    watching.join("a", 1).await;
    watching.state().await;
    let odd = [
        json!(7),
        json!(null),
        json!([progress(1.0, 9)]),
        json!({"uuid": "a"}),
        json!({"type": 7, "uuid": "a"}),
        json!({"type": "task-started", "uuid": 7}),
        json!({"type": "task-set", "uuid": "a", "set": {"tasks": ["b"]}}),
    ];
    let mut events = odd.to_vec();
    // These are odd, too, but say what happened to which task.
    events.push(json!({"type": "task-unheard-of", "uuid": "a", "timestamp": 9}));
    events.push(json!({"type": "task-progress", "uuid": "a", "timestamp": "1.5", "name": {},
                       "hostname": 7, "exception": ["x"], "state": {}, "progress": {"n": 1}}));
    publish(&server, &message(&events.into()));
    assert_eq!(watching.state().await["progress"], json!({"n": 1}));
    publish(&server, &message(&json!({"type": "task-succeeded", "uuid": "a", "timestamp": 2})));
    assert_eq!(watching.state().await["state"], "SUCCESS");
    assert_eq!(watching.metric("groupcast_celery_malformed_total"), odd.len() as f64);
}

/// What the helper sends where the result back end is not Redis.
fn set(id: &str, tasks: &[&str], has_last: bool) -> Value {
    let children: Vec<_> = tasks.iter().map(|task| json!([[task, null], null])).collect();
    let set = json!({"result": [[id, null], children], "has_last": has_last});
    json!({"type": "task-set", "uuid": id, "timestamp": 1.0, "hostname": "gen7@h", "set": set})
}

fn succeeded(id: &str) -> Value {
    json!({"type": "task-succeeded", "uuid": id, "timestamp": 2.0, "hostname": "w@h"})
}

#[tokio::test]
async fn counts_the_tasks_of_a_group_whether_it_was_reported_before_or_after() {
    let server = RedisServer::start();
    let mut watching = following(&server).await;
    publish(&server, &message(&json!([succeeded("x"), set("g", &["x", "y"], false)])));
    watching.counts("groupcast_celery_events_total", 2.0).await;
    watching.join("g", 1).await;
    let count = |id: &str, state: &str, current: u64| {
        let progress = json!({"current": current, "total": 2, "failed": 0});
        json!({"type": "task.state", "id": id, "state": state, "progress": progress})
    };
    assert_eq!(watching.state().await, count("g", "PROGRESS", 1));
    publish(&server, &message(&succeeded("y")));
    assert_eq!(watching.state().await, count("g", "SUCCESS", 2));

    watching.join("last", 1).await;
    assert_eq!(watching.state().await["state"], "PENDING");
    publish(&server, &message(&set("last", &["b", "last"], true)));
    assert_eq!(watching.state().await, count("last", "PROGRESS", 0));
    publish(&server, &message(&succeeded("b")));
    assert_eq!(watching.state().await, count("last", "PROGRESS", 1));
    publish(&server, &message(&succeeded("last")));
    let success = json!({"type": "task.state", "id": "last", "state": "SUCCESS"});
    assert_eq!(watching.state().await, success);
}

#[tokio::test]
async fn records_who_works_and_what_became_of_the_tasks_of_each_name() {
    let server = RedisServer::start();
    let watching = following(&server).await;
    publish(&server, &recorded("worker-heartbeat"));
    let event = |kind: &str, id: &str, at: f64, mut more: Value| {
        more["type"] = kind.into();
        more["uuid"] = id.into();
        more["timestamp"] = at.into();
        more["hostname"] = "w2@h".into();
        more
    };
    let received = |id: &str| event("task-received", id, 1.0, json!({"name": "photos.cut"}));
    let mut events: Vec<_> = ["a", "b", "c"].iter().map(|id| received(id)).collect();
    events.push(event("task-succeeded", "a", 3.5, json!({"runtime": 2.5})));
    events.push(event("task-failed", "b", 4.0, json!({"exception": "ValueError('x')"})));
    publish(&server, &message(&events.into()));
    watching.counts("groupcast_celery_events_total", 6.0).await;

    let snapshot = serde_json::to_value(watching.workers()).unwrap();
    let [w1, w2] = [0, 1].map(|index| &snapshot["workers"][index]);
    assert_eq!((&w1["name"], &w1["version"]), (&json!("w1@maquina"), &json!("5.7.0")));
    assert_eq!((&w2["name"], &w2["is_alive"]), (&json!("w2@h"), &json!(true)));
    let name = &snapshot["names"][0];
    assert_eq!((&name["name"], &name["received"]), (&json!("photos.cut"), &json!(3)));
    assert_eq!((&name["succeeded"], &name["failed"]), (&json!(1), &json!(1)));
    assert_eq!((&name["per_minute"], &name["mean_runtime"]), (&json!(2), &json!(2.5)));
    let failed = json!({"id": "b", "name": "photos.cut", "worker": "w2@h", "state": "FAILURE",
                        "at": 4.0, "runtime": null});
    assert_eq!(snapshot["tasks"][0], failed, "the newest first");

    publish(&server, &recorded("worker-offline"));
    watching.counts("groupcast_celery_events_total", 7.0).await;
    let snapshot = serde_json::to_value(watching.workers()).unwrap();
    assert_eq!(snapshot["workers"][0]["is_alive"], false);
    assert_eq!(watching.metric("groupcast_celery_workers"), 1.0);
}

#[tokio::test]
async fn records_workers_beside_a_result_back_end_too() {
    let server = RedisServer::start();
    let redis = RedisSettings::new(&server.url()).unwrap();
    let source =
        WorkerEvents::Redis { server: redis.clone(), channels: "/3.celeryev/*".to_owned() };
    let (results, events) = (Some(redis), Some(source));
    let mut watching = watching_with(CelerySettings { results, events, ..Default::default() });
    let subscribed = || server.ask(&["PUBSUB", "NUMPAT"]) == ":1\r\n";
    super::watching::until("the channels are subscribed", subscribed).await;
    publish(&server, &recorded("worker-online"));
    watching.counts("groupcast_celery_workers", 1.0).await;
    watching.join("a", 1).await;
    assert_eq!(watching.state().await["state"], "PENDING");
    publish(&server, &message(&progress(1.0, 1)));
    super::watching::write_key(&server, "celery-task-meta-a", r#"{"status":"SUCCESS"}"#);
    assert_eq!(watching.state().await["state"], "SUCCESS", "states come from the result back end");
}
