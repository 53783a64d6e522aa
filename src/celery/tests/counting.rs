//! Groups, chords and chains, over a real Redis.

use serde_json::{Value, json};

use super::watching::{Watching, until, watching, write, write_key};
use crate::celery::sets::contents;
use crate::layer::tests::server::RedisServer;

const SUCCESS: &str = r#"{"status":"SUCCESS","result":1}"#;
const FAILURE: &str = r#"{"status":"FAILURE","result":{"exc_type":"ValueError"}}"#;

/// What `GroupResult.save()` stores.
fn save(server: &RedisServer, set: &str, tasks: &[&str]) {
    write_key(server, &format!("site_celery-taskset-meta-{set}"), &stored(set, tasks).to_string());
}

fn stored(set: &str, tasks: &[&str]) -> Value {
    let children: Vec<_> = tasks.iter().map(|task| json!([[task, null], null])).collect();
    json!({"result": [[set, null], children]})
}

/// What the helper stores of a chord.
fn save_chord(server: &RedisServer, body: &str, header: &[&str]) {
    let mut value = stored(body, header);
    value["has_last"] = true.into();
    write_key(server, &format!("site_celery-taskset-meta-{body}"), &value.to_string());
}

fn count(set: &str, state: &str, current: u64, total: u64, failed: u64) -> Value {
    let progress = json!({"current": current, "total": total, "failed": failed});
    json!({"type": "task.state", "id": set, "state": state, "progress": progress})
}

/// Skips what was true on the way there.
async fn reaches(watching: &mut Watching, expected: Value) {
    loop {
        let state = watching.state().await;
        if state == expected {
            return;
        }
        assert_eq!((&state["id"], &state["state"]), (&expected["id"], &json!("PROGRESS")));
    }
}

#[tokio::test]
async fn counts_the_tasks_of_a_group() {
    let server = RedisServer::start();
    save(&server, "g", &["a", "b", "c"]);
    write(&server, "a", SUCCESS);
    let mut watching = watching(&server);
    watching.join("g", 1).await;
    assert_eq!(watching.state().await, count("g", "PROGRESS", 1, 3, 0), "at once what is true");
    write(&server, "b", r#"{"status":"PROGRESS","result":{"n":1}}"#);
    write(&server, "b", FAILURE);
    assert_eq!(watching.state().await, count("g", "PROGRESS", 2, 3, 1));
    write(&server, "c", SUCCESS);
    assert_eq!(watching.state().await, count("g", "FAILURE", 3, 3, 1));
    write(&server, "b", SUCCESS);
    assert_eq!(watching.state().await, count("g", "SUCCESS", 3, 3, 0), "it was delivered again");
}

#[tokio::test]
async fn counts_a_group_that_is_stored_after_it_is_watched() {
    let server = RedisServer::start();
    let mut watching = watching(&server);
    watching.join("g", 1).await;
    assert_eq!(watching.state().await["state"], "PENDING");
    save(&server, "g", &["a", "b"]);
    assert_eq!(watching.state().await, count("g", "PROGRESS", 0, 2, 0));
    save(&server, "g", &["b", "c", "d"]);
    write(&server, "c", SUCCESS);
    reaches(&mut watching, count("g", "PROGRESS", 1, 3, 0)).await;
}

#[tokio::test]
async fn a_task_that_ends_a_chord_has_the_last_word() {
    let server = RedisServer::start();
    save_chord(&server, "body", &["a", "b"]);
    let mut watching = watching(&server);
    watching.join("body", 1).await;
    assert_eq!(watching.state().await, count("body", "PROGRESS", 0, 2, 0));
    write(&server, "a", SUCCESS);
    write(&server, "b", SUCCESS);
    reaches(&mut watching, count("body", "PROGRESS", 2, 2, 0)).await;
    write(&server, "body", r#"{"status":"PROGRESS","result":{"n":1}}"#);
    assert_eq!(watching.state().await["progress"], json!({"n": 1}));
    write(&server, "body", FAILURE);
    assert_eq!(
        watching.state().await,
        json!({"type": "task.state", "id": "body", "state": "FAILURE"})
    );
}

#[tokio::test]
async fn a_chain_ends_with_the_step_that_fails_since_its_last_task_is_never_begun() {
    let server = RedisServer::start();
    save_chord(&server, "last", &["a", "b", "last"]);
    let mut watching = watching(&server);
    watching.join("last", 1).await;
    assert_eq!(watching.state().await, count("last", "PROGRESS", 0, 3, 0));
    write(&server, "a", SUCCESS);
    write(&server, "b", FAILURE);
    reaches(&mut watching, count("last", "FAILURE", 2, 3, 1)).await;
}

#[tokio::test]
async fn subscribes_the_tasks_of_a_group_while_it_is_watched() {
    let server = RedisServer::start();
    let channels = || server.ask(&["PUBSUB", "CHANNELS", "*celery-task*"]).matches("site_").count();
    save(&server, "g", &["a", "b"]);
    save(&server, "h", &["b", "c"]);
    let mut watching = watching(&server);
    for set in ["g", "h"] {
        watching.join(set, 1).await;
        assert_eq!(watching.state().await, count(set, "PROGRESS", 0, 2, 0));
    }
    watching.join("c", 1).await;
    assert_eq!(watching.state().await["state"], "PENDING");
    assert_eq!(channels(), 8, "both keys of g, h and c, and those of a and b");
    watching.leave("h").await;
    until("h is not subscribed", || channels() == 6).await;
    write(&server, "b", SUCCESS);
    assert_eq!(watching.state().await, count("g", "PROGRESS", 1, 2, 0));
    watching.leave("g").await;
    until("only c is subscribed", || channels() == 2).await;
}

#[tokio::test]
async fn counts_again_what_ended_while_the_result_back_end_was_away() {
    let mut server = RedisServer::start();
    let tasks: Vec<_> = (0..200).map(|n| format!("t{n}")).collect();
    let tasks: Vec<_> = tasks.iter().map(String::as_str).collect();
    save(&server, "g", &tasks);
    let mut watching = watching(&server);
    watching.join("g", 1).await;
    assert_eq!(watching.state().await, count("g", "PROGRESS", 0, 200, 0));
    server.kill();
    server.start_again();
    for task in &tasks[..150] {
        write(&server, task, SUCCESS);
    }
    reaches(&mut watching, count("g", "PROGRESS", 150, 200, 0)).await;
    write(&server, "t199", SUCCESS);
    reaches(&mut watching, count("g", "PROGRESS", 151, 200, 0)).await;
}

#[tokio::test]
async fn a_foreign_value_costs_no_other_task_of_its_group_its_place() {
    let server = RedisServer::start();
    write_key(&server, "site_celery-taskset-meta-foreign", "\u{80}");
    server.ask(&["LPUSH", "site_celery-task-meta-list", "x"]);
    save(&server, "g", &["list", "a"]);
    let mut watching = watching(&server);
    watching.join("foreign", 1).await;
    assert_eq!(watching.state().await["state"], "PENDING");
    watching.join("g", 1).await;
    assert_eq!(watching.state().await, count("g", "PROGRESS", 0, 2, 0));
    write(&server, "a", SUCCESS);
    write(&server, "a", "\u{80}");
    assert_eq!(watching.state().await, count("g", "PROGRESS", 1, 2, 0));
    watching.counts("groupcast_celery_malformed_total", 3.0).await;
}

#[test]
fn counts_each_task_of_groups_within_groups() {
    let stored = json!({"result": [["g", null], [
        [["a", null], null],
        [["h", null], [[["b", null], null], [["c", [["earlier", null], null]], null]]],
    ]]});
    let mut tasks = contents(stored.to_string().as_bytes()).unwrap().tasks;
    tasks.sort();
    assert_eq!(tasks, ["a", "b", "c"]);
}

#[test]
fn says_what_is_no_group_or_too_large() {
    let error = |value: &str| contents(value.as_bytes()).unwrap_err().to_string();
    assert!(error("\u{80}").contains("result_serializer"));
    assert!(error("{}").contains("missing field `result`"), "{}", error("{}"));
    let children: Vec<_> = (0..10_001).map(|n| json!([[n.to_string(), null], null])).collect();
    let large = json!({"result": [["g", null], children]}).to_string();
    assert_eq!(error(&large), "it has 10001 tasks; at most 10000 are counted");
}
