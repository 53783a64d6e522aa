//! `groupcast doctor` with a real RabbitMQ: before and after a gateway, with dead letters, policies
//! and a queue that is otherwise.

use lapin::types::FieldTable;
use serde_json::{Value, json};

use crate::support::{Amqp, Folder, Gateway, RabbitServer, eventually};

const QUEUE: &str = "groupcast.groupcast";

/// What doctor finds, by what it looked at.
fn findings(configuration: &str) -> Vec<(String, String, String)> {
    let folder = Folder::with(&crate::support::complete_config(configuration));
    let output = folder.groupcast(&["doctor", "--json"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{errors}"));
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|it| (text(it, "what"), text(it, "level"), text(it, "found"))).collect()
}

#[track_caller]
fn assert_finds(findings: &[(String, String, String)], what: &str, level: &str, words: &str) {
    let found = findings.iter().find(|(found, ..)| found == what);
    let (_, found_level, found) = found.unwrap_or_else(|| panic!("no {what} in {findings:?}"));
    assert!(found_level == level && found.contains(words), "{what}: {found_level} {found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_at_queue_policy_and_dead_letters_without_changing_them() {
    let (rabbit, port) = RabbitServer::start_managed();
    let management = format!("management = \"http://guest:guest@127.0.0.1:{port}\"\n");
    let configuration = format!("[amqp]\nurl = {:?}\n{management}", rabbit.url());
    let before = findings(&configuration);
    assert_finds(&before, "rabbitmq", "ok", "answers");
    assert_finds(&before, "queue", "ok", "no queue");
    assert_finds(&findings(&format!("{configuration}declare = false\n")), "queue", "fail", QUEUE);

    let gateway = Gateway::with(&configuration).await;
    gateway.ready().await;
    let amqp = Amqp::connect(&rabbit.url()).await;
    amqp.publish("wrong key", &json!({"type": "venta"})).await;
    eventually("the dead letter", async || amqp.depth(&format!("{QUEUE}.dead")).await.0 == 1).await;
    let running = findings(&configuration);
    assert_finds(&running, "exchange", "ok", "groupcast");
    assert_finds(&running, "queue", "ok", "0 waiting, 1 consumers");
    assert_finds(&running, "dead letters", "warn", "1 in");
    assert_finds(
        &running,
        "queue policy",
        "ok",
        "delivery limit 1000; dead letters to groupcast.dead",
    );
    assert!(!running.iter().any(|(what, ..)| what == "queue arguments"), "{running:?}");

    let policy = r#"{"delivery-limit": 20}"#;
    rabbit.control(&["set_policy", "like-rabbitmq-4", "^groupcast", policy]);
    let has_policy = || {
        let found = findings(&configuration);
        found.iter().any(|(what, _, found)| what == "queue policy" && found.contains("like-"))
    };
    eventually("the policy to apply", async || tokio::task::block_in_place(has_policy)).await;
    assert_finds(&findings(&configuration), "queue policy", "warn", "delivery limit 20");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tells_what_is_otherwise_and_who_is_not_let_in() {
    let rabbit = RabbitServer::start();
    let amqp = Amqp::connect(&rabbit.url()).await;
    amqp.declare(QUEUE, "groupcast", FieldTable::default()).await;
    amqp.publish("sala_1", &json!({"type": "venta"})).await;
    let found = findings(&format!("[amqp]\nurl = {:?}\n", rabbit.url()));
    assert_finds(&found, "queue arguments", "warn", "inequivalent arg");
    assert_finds(&found, "queue", "warn", "1 waiting, 0 consumers");
    let wrong = rabbit.url().replace("guest:guest", "guest:secret");
    let found = findings(&format!("[amqp]\nurl = {wrong:?}\n"));
    assert_finds(&found, "rabbitmq", "fail", "ACCESS_REFUSED");
    assert!(!format!("{found:?}").contains("secret"), "{found:?}");
    let closed = "[amqp]\nurl = \"amqp://guest:guest@127.0.0.1:1\"\n";
    assert_finds(&findings(closed), "rabbitmq", "fail", "cannot be reached");
}
