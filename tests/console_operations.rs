//! What operators see of what runs beside the gateway, and what they do with it: tasks of Celery,
//! entries that were set aside, parked publications, dead letters.

use serde_json::{Value, json};

use crate::support::{
    Amqp, Django, Endpoints, Gateway, Instance, Python, RabbitServer, RedisServer, Socket,
    eventually,
};

const TASKS: &str = r#"
[[api.key]]
name = "looker"
secret = "a-key-that-may-only-look"
groups = ["*"]
allow = ["console"]
[[task]]
call = "record"
name = "record"
arguments = { n = "integer" }
retry = true
[[task]]
call = "pictures"
name = "pictures"
identity = ""
arguments = { count = "integer" }
[[task]]
call = "nowhere"
name = "record"
queue = "nobody-reads-it"
[[grant]]
calls = ["record", "pictures", "nowhere"]
"#;

/// The id of the task that a call has started.
async fn start(browser: &mut Socket, name: &str, data: Value) -> String {
    browser.send(json!({"type": "call", "id": 1, "name": name, "data": data})).await;
    loop {
        let frame = browser.frame().await;
        if frame["id"] == 1 {
            return frame["data"]["task"].as_str().unwrap_or_else(|| panic!("{frame}")).to_owned();
        }
    }
}

async fn state(browser: &mut Socket, task: &str, state: &str) {
    loop {
        let frame = browser.frame().await;
        if frame["data"]["id"] == task && frame["data"]["state"] == state {
            return;
        }
    }
}

async fn tasks(at: &Endpoints) -> Value {
    let answer = at.ask("GET /console/tasks", &[], "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// The row of a list whose `key` is this.
fn row<'a>(report: &'a Value, list: &str, key: &str, value: &str) -> Option<&'a Value> {
    report[list].as_array()?.iter().find(|row| row[key] == value)
}

async fn recorded(worker: &mut Python) -> Vec<Value> {
    worker.write_line(&json!({"recorded": true}).to_string());
    worker.line().await.as_array().unwrap().clone()
}

/// A worker with its events, and the configuration of a gateway that knows its broker.
async fn site(redis: &RedisServer, broker: &str) -> (Python, String) {
    let results = format!("{}/1", redis.url());
    let options = json!({
        "broker": broker, "results": results, "steps": redis.url(), "events": true,
    });
    let mut worker = Python::start("worker.py", &options);
    let celery = format!(
        "[celery]\nresults = {results:?}\nbroker = {broker:?}\nevents = {broker:?}\n\
         queues = [\"celery\"]\n"
    );
    let layer = format!("[layer]\nkind = \"redis\"\nurl = \"{}/3\"\n", redis.url());
    assert_eq!(worker.line().await, json!({"ready": true}));
    (worker, format!("{layer}{celery}{TASKS}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_tasks_and_workers_and_still_does_after_a_restart() {
    let redis = RedisServer::start();
    let (_worker, configuration) = site(&redis, &format!("{}/2", redis.url())).await;
    let mut gateway = Gateway::with(&configuration).await;
    gateway.ready().await;
    eventually("a worker to be heard", async || {
        tasks(&gateway).await["workers"][0]["is_alive"] == true
    })
    .await;
    let mut browser = gateway.v1("7").await;
    let task = start(&mut browser, "record", json!({"n": 7})).await;
    state(&mut browser, &task, "SUCCESS").await;
    start(&mut browser, "nowhere", Value::Null).await;
    eventually("the task to be counted", async || {
        let report = tasks(&gateway).await;
        let seen = row(&report, "tasks", "id", &task);
        let counted = row(&report, "names", "name", "record");
        seen.is_some_and(|it| it["state"] == "SUCCESS" && it["name"] == "record")
            && counted.is_some_and(|it| it["succeeded"] == 1 && it["per_minute"] == 1)
    })
    .await;
    eventually("the length of the queue that nobody reads", async || {
        let report = tasks(&gateway).await;
        let waiting = |queue| row(&report, "queues", "name", queue).unwrap()["waiting"].as_u64();
        waiting("nobody-reads-it") == Some(1) && waiting("celery") == Some(0)
    })
    .await;
    assert_eq!(tasks(&gateway).await["repeatable"], json!(["record"]));

    eventually("the task to be kept", async || {
        let kept = redis.ask(&[
            "EVAL",
            "redis.call('SELECT', 3) \
             return redis.call('HGET', 'groupcast:note:celery-tasks', 'note')",
            "0",
        ]);
        kept.contains(&task)
    })
    .await;
    gateway.stop();
    gateway.ended().await;
    let again = Gateway::with(&configuration).await;
    again.ready().await;
    eventually("the task to be known again", async || {
        let report = tasks(&again).await;
        row(&report, "tasks", "id", &task).is_some_and(|it| it["state"] == "SUCCESS")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revokes_tasks_and_has_them_done_again_for_keys_with_the_right() {
    let redis = RedisServer::start();
    let (mut worker, configuration) = site(&redis, &format!("{}/2", redis.url())).await;
    let gateway = Gateway::with(&configuration).await;
    gateway.ready().await;
    let mut browser = gateway.v1("7").await;
    let task = start(&mut browser, "record", json!({"n": 7})).await;
    state(&mut browser, &task, "SUCCESS").await;
    let answer = gateway.ask(&format!("POST /tasks/{task}/retry"), &[], "").await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let again = answer.json()["task"].as_str().unwrap().to_owned();
    assert_eq!(answer.json()["group"], format!("task.{again}"));
    eventually("it to be done again", async || recorded(&mut worker).await.len() == 2).await;
    let all = recorded(&mut worker).await;
    assert_eq!(all[0]["kwargs"], all[1]["kwargs"], "the same arguments, for the same user");
    assert_eq!(all[1]["id"], again);

    let running = start(&mut browser, "pictures", json!({"count": 2})).await;
    worker.write_line(&json!({"step": running}).to_string());
    state(&mut browser, &running, "PROGRESS").await;
    let answer = gateway.ask(&format!("POST /tasks/{running}/retry"), &[], "").await;
    assert_eq!(answer.status, 404, "{}", answer.body);
    assert!(answer.body.contains("retry = true"), "{}", answer.body);
    let line = format!("POST /tasks/{running}/revoke?terminate=yes");
    assert_eq!(gateway.ask(&line, &[], "").await.status, 202);
    state(&mut browser, &running, "REVOKED").await;
    let looker = ["Authorization: Bearer a-key-that-may-only-look"];
    let answer = crate::support::request(gateway.api, &line, &looker, b"").await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    let wrong = format!("POST /tasks/{running}/revoke?terminate=perhaps");
    assert_eq!(gateway.ask(&wrong, &[], "").await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tells_the_lengths_of_queues_on_rabbitmq_and_their_workers() {
    let (redis, rabbit) = (RedisServer::start(), RabbitServer::start());
    let (_worker, configuration) = site(&redis, &rabbit.url()).await;
    let gateway = Gateway::with(&configuration).await;
    gateway.ready().await;
    eventually("the queue of the worker", async || {
        let report = tasks(&gateway).await;
        let queue = row(&report, "queues", "name", "celery").unwrap();
        (queue["waiting"].as_u64(), queue["workers"].as_u64()) == (Some(0), Some(1))
    })
    .await;
    let report = tasks(&gateway).await;
    let absent = row(&report, "queues", "name", "nobody-reads-it").unwrap();
    assert!(absent["error"].as_str().unwrap().contains("no queue"), "{absent}");
}

async fn sources(at: &Endpoints, language: &str) -> Value {
    let answer = at.ask(&format!("GET /console/sources?language={language}"), &[], "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_what_was_set_aside_and_parked_in_the_words_of_the_doctor() {
    let (redis, rabbit) = (RedisServer::start(), RabbitServer::start());
    let amqp = format!("[amqp]\nurl = {:?}\n", rabbit.url());
    let configuration = format!("{}{amqp}", Django::core(&redis).gateway());
    // An entry under way when two processes ended.
    let event = r#"{"type":"x"}"#;
    let id = "1-1";
    redis.ask(&["XADD", "groupcast:ingress", id, "group", "sala_9", "event", event]);
    let mark = "redis.call('HSET', KEYS[1], KEYS[2], '1 ' .. redis.sha1hex(ARGV[1]) .. \
                ' deadbeef,cafecafe')";
    redis.ask(&["EVAL", mark, "2", "groupcast:underway", "groupcast:ingress", id]);
    let mut holder = Instance::start(&configuration).await;
    let gateway = Gateway::with(&configuration).await;
    holder.ready().await;
    gateway.ready().await;
    eventually("the entry to be set aside", async || {
        sources(&gateway, "en").await["poison"].as_array().unwrap().len() == 1
    })
    .await;
    let report = sources(&gateway, "en").await;
    let poison = row(&report, "findings", "what", "poison").unwrap();
    assert_eq!(
        (&poison["level"], &poison["page"]),
        (&json!("warn"), &json!("docs/channels.md#what-is-promised"),)
    );
    let why = report["poison"][0]["why"].as_str().unwrap();
    assert!(poison["found"].as_str().unwrap().ends_with(why), "{poison}");
    assert!(report["poison"][0]["entry"].as_str().unwrap().contains("sala_9"), "{report}");
    let spanish = sources(&gateway, "es").await;
    let poison = row(&spanish, "findings", "what", "poison").unwrap();
    assert!(poison["found"].as_str().unwrap().contains("entradas apartadas"), "{poison}");

    // A group whose only holder is gone without leaving.
    let mut socket = holder.v1("7").await;
    socket.join("sala_1").await;
    holder.kill();
    eventually("what is sent to be parked", async || {
        redis.ask(&["XADD", "groupcast:ingress", "*", "group", "sala_1", "event", event]);
        let report = sources(&gateway, "en").await;
        row(&report, "parked", "group", "sala_1")
            .is_some_and(|it| it["waiting"].as_u64() >= Some(1))
    })
    .await;

    let publisher = Amqp::connect(&rabbit.url()).await;
    publisher.publish("wrong key", &json!({"type": "x"})).await;
    eventually("the dead letter", async || {
        let report = sources(&gateway, "en").await;
        row(&report, "findings", "what", "dead letters").is_some_and(|it| it["level"] == "warn")
    })
    .await;
    let report = sources(&gateway, "en").await;
    let dead = row(&report, "findings", "what", "dead letters").unwrap();
    let found = dead["found"].as_str().unwrap();
    assert!(found.starts_with("1 in ") && found.contains(".dead"), "{dead}");
    assert_eq!(dead["page"], "docs/rabbitmq.md#dead-letters");
}
