//! Browsers start tasks of Celery by calls, and real workers carry them out.

use std::collections::HashSet;
use std::path::Path;

use proptest::collection::vec as list;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{Gateway, Python, RabbitServer, RedisServer, Socket, eventually};

const TASKS: &str = r#"
[[task]]
call = "record"
name = "record"
arguments = { n = "integer?", more = "any?" }
per_minute = 10000
concurrent = 10000
revoke = "waiting"
[[task]]
call = "pictures"
name = "pictures"
identity = ""
arguments = { count = { type = "integer", min = 0, max = 100 } }
per_minute = 4
concurrent = 2
revoke = "running"
[[task]]
call = "nowhere"
name = "record"
queue = "nobody-declared-it"
[[grant]]
calls = ["record", "record.revoke", "pictures", "pictures.revoke", "nowhere"]
[[route]]
path = "/ws"
call_errors = true
"#;

/// A worker, its broker, and a gateway.
struct Site {
    worker: Python,
    gateway: Gateway,
    configuration: String,
    _redis: RedisServer,
    _rabbit: Option<RabbitServer>,
}

/// The interpreter of the oldest Celery that is supported, where there is one.
fn oldest() -> Option<String> {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/django-python-3.9/bin/python");
    let exists = Path::new(python).exists();
    if !exists {
        eprintln!("skipped with Python 3.9 and its Celery: run `make django-python-3.9`");
    }
    exists.then(|| python.to_owned())
}

async fn site(rabbit: Option<RabbitServer>, python: &str) -> Site {
    let redis = RedisServer::start();
    let results = format!("{}/1", redis.url());
    let broker = rabbit.as_ref().map_or_else(|| format!("{}/2", redis.url()), RabbitServer::url);
    let options = json!({
        "broker": broker, "results": results, "steps": redis.url(), "python": python,
    });
    let mut worker = Python::start("worker.py", &options);
    let celery = format!("[celery]\nresults = {results:?}\nbroker = {broker:?}\n");
    let layer = format!("[layer]\nkind = \"redis\"\nurl = \"{}/3\"\n", redis.url());
    let configuration = format!("{layer}{celery}{TASKS}");
    let gateway = Gateway::with(&configuration).await;
    gateway.ready().await;
    assert_eq!(worker.line().await, json!({"ready": true}));
    Site { worker, gateway, configuration, _redis: redis, _rabbit: rabbit }
}

fn call(name: &str, data: Value) -> Value {
    json!({"type": "call", "name": name, "data": data})
}

fn keyed(name: &str, data: Value, key: &str) -> Value {
    json!({"type": "call", "name": name, "data": data, "key": key})
}

/// The answer to a call, between the states of tasks.
async fn ask(browser: &mut Socket, mut call: Value) -> Value {
    call["id"] = 1.into();
    browser.send(call).await;
    loop {
        let frame = browser.frame().await;
        if frame["id"] == 1 {
            return frame;
        }
    }
}

/// Starts a task; returns its id.
async fn start(browser: &mut Socket, call: Value) -> String {
    let answer = ask(browser, call).await;
    answer["data"]["task"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Waits for a state of a task, and skips all else.
async fn state(browser: &mut Socket, task: &str, state: &str) -> Value {
    loop {
        let frame = browser.frame().await;
        if frame["data"]["id"] == task && frame["data"]["state"] == state {
            return frame["data"].clone();
        }
    }
}

impl Site {
    /// What was carried out, once it is so much.
    async fn recorded(&mut self, count: usize) -> Vec<Value> {
        loop {
            self.worker.write_line(&json!({"recorded": true}).to_string());
            let recorded = self.worker.line().await;
            if recorded.as_array().unwrap().len() >= count {
                return recorded.as_array().unwrap().clone();
            }
        }
    }

    fn step(&mut self, task: &str) {
        self.worker.write_line(&json!({"step": task}).to_string());
    }
}

async fn is_watched_by_its_caller(site: &mut Site) {
    let mut browser = site.gateway.v1("7").await;
    let task = start(&mut browser, call("pictures", json!({"count": 2}))).await;
    for current in 1..=2 {
        site.step(&task);
        let progress = json!({"current": current, "total": 2});
        assert_eq!(state(&mut browser, &task, "PROGRESS").await["progress"], progress);
    }
    site.step(&task);
    state(&mut browser, &task, "SUCCESS").await;

    let recorded = start(&mut browser, call("record", json!({"n": 7}))).await;
    state(&mut browser, &recorded, "SUCCESS").await;
    let expected = json!({"id": recorded, "kwargs": {"n": 7, "sub": "7"}});
    assert_eq!(site.recorded(1).await, [expected], "the gateway says who it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_starts_a_task_that_its_caller_watches_from_then_on() {
    is_watched_by_its_caller(&mut site(None, "").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_tasks_over_rabbitmq_and_says_so_while_it_is_away() {
    let mut site = site(Some(RabbitServer::start()), "").await;
    is_watched_by_its_caller(&mut site).await;
    let mut browser = site.gateway.v1("8").await;
    let answer = ask(&mut browser, call("nowhere", Value::Null)).await;
    assert_eq!((&answer["code"], &answer["retry"]), (&json!("unavailable"), &json!(true)));
    let task = revokes(&mut site, &mut browser).await;
    state(&mut browser, &task, "REVOKED").await;

    let rabbit = site._rabbit.as_mut().unwrap();
    rabbit.kill();
    let answer = ask(&mut browser, keyed("record", json!({"n": 1}), "k")).await;
    assert_eq!(answer["code"], "unavailable", "{answer}");
    rabbit.start_again();
    let gateway = &site.gateway;
    eventually("tasks are started again", async || {
        let mut browser = gateway.v1("9").await;
        ask(&mut browser, keyed("record", json!({"n": 1}), "k")).await["type"] == "result"
    })
    .await;
}

/// A running task, which its user revokes.
async fn revokes(site: &mut Site, browser: &mut Socket) -> String {
    let task = start(browser, call("pictures", json!({"count": 2}))).await;
    site.step(&task);
    state(browser, &task, "PROGRESS").await;
    let mut stranger = site.gateway.v1("13").await;
    let revoke = call("pictures.revoke", json!({"task": task}));
    assert_eq!(ask(&mut stranger, revoke.clone()).await["code"], "not_found");
    let by_another_call = call("record.revoke", json!({"task": task}));
    assert_eq!(ask(browser, by_another_call).await["code"], "not_found");
    assert_eq!(ask(browser, revoke).await["data"], json!({"task": task}));
    task
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_revokes_tasks_of_his_own_and_no_others() {
    let mut site = site(None, "").await;
    let mut browser = site.gateway.v1("7").await;
    let task = revokes(&mut site, &mut browser).await;
    state(&mut browser, &task, "REVOKED").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_called_for_again_with_its_key_is_started_once() {
    let mut site = site(None, "").await;
    let mut browser = site.gateway.v1("7").await;
    let first = start(&mut browser, keyed("record", json!({"n": 1}), "k")).await;
    assert_eq!(start(&mut browser, keyed("record", json!({"n": 1}), "k")).await, first);
    let answer = ask(&mut browser, keyed("record", json!({"n": 2}), "k")).await;
    assert_eq!(answer["code"], "duplicate_key", "{answer}");
    let mut other = site.gateway.v1("8").await;
    assert_ne!(start(&mut other, keyed("record", json!({"n": 1}), "k")).await, first);
    let last = start(&mut browser, call("record", json!({"n": 3}))).await;
    state(&mut browser, &last, "SUCCESS").await;
    let recorded = site.recorded(3).await;
    let ids: Vec<_> = recorded.iter().map(|each| each["id"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().filter(|id| **id == first).count(), 1);
    assert_eq!(ids.len(), 3, "{ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_stands_for_one_task_on_all_instances() {
    let mut site = site(None, "").await;
    let other = Gateway::with(&site.configuration).await;
    other.ready().await;
    let (mut here, mut there) = (site.gateway.v1("7").await, other.v1("7").await);
    let mut tasks = HashSet::new();
    for n in 0..10 {
        let asked = keyed("record", json!({"n": n}), &format!("k{n}"));
        let started = async |browser: &mut Socket| {
            loop {
                let answer = ask(browser, asked.clone()).await;
                if let Some(task) = answer["data"]["task"].as_str() {
                    return task.to_owned();
                }
                // The other one is about to start it.
                assert_eq!(answer["retry"], true, "{answer}");
            }
        };
        let (one, two) = tokio::join!(started(&mut here), started(&mut there));
        assert_eq!(one, two, "both browsers are told of one task");
        tasks.insert(one);
        let changed = keyed("record", json!({"n": n + 1}), &format!("k{n}"));
        assert_eq!(ask(&mut there, changed).await["code"], "duplicate_key");
    }
    let last = start(&mut there, call("record", json!({"n": 99}))).await;
    state(&mut there, &last, "SUCCESS").await;
    let recorded = site.recorded(11).await;
    assert_eq!((recorded.len(), tasks.len()), (11, 10), "each was carried out once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_other_arguments_than_declared_and_an_identity_of_the_browsers_own() {
    let mut site = site(None, "").await;
    let mut browser = site.gateway.v1("7").await;
    for (data, word) in [
        (json!({"sub": "8"}), "\"sub\" is not known"),
        (json!({"n": "1"}), "an integer is expected"),
        (json!([1]), "not an object"),
    ] {
        let answer = ask(&mut browser, call("record", data)).await;
        assert_eq!(answer["code"], "bad_request", "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(word), "{answer}");
    }
    let mut plain = site.gateway.plain("/ws", "7").await;
    plain.send(json!({"action": "record", "n": 5})).await;
    while !plain.frame().await["task"].is_string() {}
    assert_eq!(site.recorded(1).await[0]["kwargs"], json!({"n": 5, "sub": "7"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_so_many_running_and_starts_so_many_a_minute() {
    let mut site = site(None, "").await;
    let pictures = || call("pictures", json!({"count": 0}));
    let mut browser = site.gateway.v1("7").await;
    let tasks = [start(&mut browser, pictures()).await, start(&mut browser, pictures()).await];
    let mut answer = ask(&mut browser, pictures()).await;
    assert_eq!(answer["code"], "limited", "{answer}");
    // Nobody watches them any more when they end.
    drop(browser);
    tasks.iter().for_each(|task| site.step(task));
    let mut browser = site.gateway.v1("7").await;
    while answer["code"] == "limited" {
        browser = site.gateway.v1("7").await; // one may send only so many frames a second
        answer = ask(&mut browser, pictures()).await;
    }
    let third = answer["data"]["task"].as_str().unwrap().to_owned();
    site.step(&third);
    state(&mut browser, &third, "SUCCESS").await;
    let fourth = start(&mut browser, pictures()).await;
    site.step(&fourth);
    state(&mut browser, &fourth, "SUCCESS").await;
    let answer = ask(&mut browser, pictures()).await;
    assert!(answer["message"].as_str().unwrap().contains("in a minute"), "{answer}");
}

/// Values beside those that are written here.
const GENERATED: usize = 150;

/// JSON that some worker cannot decode, or nearly.
fn odd_values() -> Vec<String> {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let mut values: Vec<String> = [
        "null",
        "-0.0",
        "1e400",
        "1e308",
        "1e-400",
        "123456789012345678901234567890",
        r#""""#,
        "9223372036854775808",
        "18446744073709551615",
        r#""\u0000""#,
        r#""\ud83d\ude00""#,
        r#""\ud800""#,
        r#""\udc00x""#,
        r#"{"__type__":"uuid","__value__":"no"}"#,
        r#"{"__type__":"datetime","__value__":7}"#,
        r#"[{"a":{"__type__":"x"}}]"#,
        r#"{"__value__":1}"#,
        r#"{"":1,"":2}"#,
        r#"{"__reduce__":["os.system",["x"]]}"#,
        r#""é \u2028 \u007f </script>""#,
        r#"{"task":"other","id":"x","callbacks":[1]}"#,
    ]
    .map(str::to_owned)
    .into();
    values.push("9".repeat(5000));
    values.push(format!("0.{}", "1".repeat(5000)));
    values.extend([100, 120, 127, 128, 500, 2000].map(nested));
    values
}

/// As many JSON texts as are wanted, the same each time: members and escapes that mean something to
/// kombu or Python, numbers of every length, depth.
fn generated_values(count: usize) -> Vec<String> {
    let piece = prop_oneof![
        3 => r"\\u[0-9a-f]{4}",
        1 => r"\\u[dD][89a-fA-F][0-9a-f]{2}",
        1 => r#"\\["\\/bfnrt]"#,
        4 => "[ !#-\\[\\]-~é✓😀\u{7f}\u{2028}]",
    ];
    let text = list(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat())).boxed();
    let number = r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?";
    let word = prop_oneof![Just("null"), Just("true"), Just("false")].prop_map(str::to_owned);
    let leaf = prop_oneof![3 => text.clone(), 3 => number, 1 => word];
    let special = select(Vec::from([
        "__type__",
        "__value__",
        r"\u005f_type__",
        "__class__",
        "",
        "callbacks",
        "task",
        "self",
    ]));
    let special = special.prop_map(|name| format!("\"{name}\""));
    let name = prop_oneof![3 => text, 1 => special].boxed();
    let value = leaf.prop_recursive(8, 40, 4, move |inner| {
        let member = (name.clone(), inner.clone()).prop_map(|(name, it)| format!("{name}:{it}"));
        prop_oneof![
            list(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            list(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    });
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| value.new_tree(&mut runner).unwrap().current()).collect()
}

/// Whatever is accepted is carried out, and with the same arguments.
async fn decodes_all_that_is_accepted(site: &mut Site) {
    let mut browser = site.gateway.v1("7").await;
    let mut accepted = Vec::new();
    let mut values = odd_values();
    values.extend(generated_values(GENERATED));
    for value in &values {
        let text = format!(r#"{{"type":"call","id":1,"name":"record","data":{{"more":{value}}}}}"#);
        browser.send_text(&text).await;
        let answer = loop {
            let frame = browser.frame().await;
            if frame["id"] == 1 {
                break frame;
            }
        };
        match answer["type"].as_str() {
            Some("result") => {
                let id = answer["data"]["task"].as_str().unwrap().to_owned();
                accepted.push((id, serde_json::from_str::<Value>(value).unwrap()));
            }
            _ => assert_eq!(answer["code"], "bad_request", "{value:.60}: {answer}"),
        }
    }
    println!("{} of {} accepted", accepted.len(), values.len());
    assert!((60..values.len() - 30).contains(&accepted.len()), "{} accepted", accepted.len());
    let recorded = site.recorded(accepted.len()).await;
    for (id, value) in accepted {
        let done =
            recorded.iter().find(|each| each["id"] == id).unwrap_or_else(|| panic!("{value}"));
        assert_eq!(done["kwargs"]["more"], value);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_decodes_whatever_is_accepted() {
    decodes_all_that_is_accepted(&mut site(None, "").await).await;
    if let Some(python) = oldest() {
        decodes_all_that_is_accepted(&mut site(None, &python).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_behind_rabbitmq_decodes_whatever_is_accepted() {
    decodes_all_that_is_accepted(&mut site(Some(RabbitServer::start()), "").await).await;
    if let Some(python) = oldest() {
        let mut site = site(Some(RabbitServer::start()), &python).await;
        decodes_all_that_is_accepted(&mut site).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tasks_are_accepted_at_once_and_carried_out_once_each() {
    const USERS: usize = 50;
    const EACH: usize = 20;
    let mut site = site(None, "").await;
    let mut browsers = Vec::new();
    for user in 0..USERS {
        browsers.push(site.gateway.v1(&user.to_string()).await);
    }
    let began = std::time::Instant::now();
    for browser in &mut browsers {
        for n in 0..EACH {
            browser
                .send(json!({"type": "call", "id": n, "name": "record", "data": {"n": n}}))
                .await;
        }
    }
    let mut accepted = HashSet::new();
    for browser in &mut browsers {
        let mut answers = 0;
        while answers < EACH {
            let frame = browser.frame().await;
            assert_ne!(frame["type"], "error", "{frame}");
            if frame["type"] == "result" {
                answers += 1;
                accepted.insert(frame["data"]["task"].as_str().unwrap().to_owned());
            }
        }
    }
    eprintln!("{} tasks accepted within {:?}", accepted.len(), began.elapsed());
    assert_eq!(accepted.len(), USERS * EACH);
    let recorded = site.recorded(USERS * EACH).await;
    let done: HashSet<_> =
        recorded.iter().map(|each| each["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((recorded.len(), done), (USERS * EACH, accepted));
}
