//! States from the events of workers, over a real Redis.

use serde_json::{Value, json};

use super::watching::{Watching, watching_with};
use crate::celery::worker_event::{body, events};
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
        events.iter().map(|event| event.state().map(str::to_owned)).collect::<Vec<_>>()
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
