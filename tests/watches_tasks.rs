//! Browsers see the states of tasks that a real Celery worker carries out.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Gateway, Python, RabbitServer, RedisServer, Socket};

/// A worker, the Redis of its results, and two gateways that share another one.
struct Site {
    worker: Python,
    gateways: [Gateway; 2],
    _servers: [RedisServer; 2],
}

async fn site(celery: &str) -> Site {
    let broker = RedisServer::start();
    let url = format!("{}/1", broker.url());
    let options = json!({"results": url, "prefix": "site_"});
    site_with(broker, options, &format!("results = {url:?}\nkey_prefix = \"site_\"\n{celery}"))
        .await
}

async fn site_with(broker: RedisServer, mut options: Value, celery: &str) -> Site {
    let layer = RedisServer::start();
    let url = layer.url();
    let configuration = format!("[layer]\nkind = \"redis\"\nurl = {url:?}\n[celery]\n{celery}\n");
    if options.get("broker").is_none() {
        options["broker"] = broker.url().into();
    }
    options["steps"] = broker.url().into();
    let mut worker = Python::start("worker.py", &options);
    let gateways = [Gateway::with(&configuration).await, Gateway::with(&configuration).await];
    for gateway in &gateways {
        gateway.ready().await;
    }
    assert_eq!(worker.line().await, json!({"ready": true}));
    Site { worker, gateways, _servers: [layer, broker] }
}

impl Site {
    async fn start_task(&mut self, name: &str, kwargs: Value) -> String {
        self.worker.write_line(&json!({"task": name, "kwargs": kwargs}).to_string());
        self.worker.line().await["id"].as_str().unwrap().to_owned()
    }

    /// Starts tasks as a group, chord or chain; returns the id to be watched, and theirs.
    async fn start_tasks(&mut self, canvas: &str, count: usize) -> (String, Vec<String>) {
        self.worker.write_line(&json!({"canvas": canvas, "count": count}).to_string());
        let answer = self.worker.line().await;
        let id = |value: &Value| value.as_str().unwrap().to_owned();
        (id(&answer["id"]), answer["tasks"].as_array().unwrap().iter().map(id).collect())
    }

    fn step(&mut self, task: &str) {
        self.worker.write_line(&json!({"step": task}).to_string());
    }

    /// Lets a user watch a task, as the site does when it starts one.
    async fn allow(&self, user: &str, task: &str) {
        let line = format!("PUT /groups/task.{task}/members/user:{user}");
        assert_eq!(self.gateways[0].ask(&line, &[], "").await.status, 202);
    }
}

/// Skips the states before this one: on a slow machine the worker may not have begun.
async fn state(browser: &mut Socket, state: &str) -> Value {
    loop {
        let event = browser.event().await;
        if event["state"] == state {
            return event;
        }
        assert!(
            ["PENDING", "RECEIVED", "STARTED"].contains(&event["state"].as_str().unwrap()),
            "{event}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_progress_and_result_on_every_instance_without_code_of_the_site() {
    let mut site = site("show_results = true").await;
    let task = site.start_task("pictures", json!({"count": 3})).await;
    let (mut here, mut there) = (site.gateways[0].v1("7").await, site.gateways[1].v1("7").await);
    site.allow("7", &task).await;
    for browser in [&mut here, &mut there] {
        assert_eq!(browser.frame().await["type"], "joined");
        state(browser, "STARTED").await;
    }
    for current in 1..=3 {
        site.step(&task);
        for browser in [&mut here, &mut there] {
            let progress = json!({"current": current, "total": 3});
            assert_eq!(browser.event().await["progress"], progress);
        }
    }
    site.step(&task);
    let result = json!({"type": "task.state", "id": task, "state": "SUCCESS",
                        "result": {"pictures": 3}});
    assert_eq!(here.event().await, result);
    assert_eq!(there.event().await, result);

    let mut late = site.gateways[1].v1("7").await;
    site.allow("7", &task).await;
    assert_eq!(late.frame().await["type"], "joined");
    assert_eq!(late.event().await, result, "who comes late sees the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_retry_and_failure_without_the_error() {
    let mut site = site("").await;
    let task = site.start_task("fails", json!({"retries": 1})).await;
    let mut browser = site.gateways[0].v1("7").await;
    site.allow("7", &task).await;
    assert_eq!(browser.frame().await["type"], "joined");
    state(&mut browser, "STARTED").await;
    site.step(&task);
    let retry = json!({"type": "task.state", "id": task, "state": "RETRY"});
    assert_eq!(browser.event().await, retry);
    site.step(&task);
    let failure = json!({"type": "task.state", "id": task, "state": "FAILURE"});
    assert_eq!(state(&mut browser, "FAILURE").await, failure);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn knowing_the_id_of_a_task_is_not_enough_to_watch_it() {
    let mut site = site("").await;
    let task = site.start_task("pictures", json!({"count": 1})).await;
    let mut stranger = site.gateways[0].v1("8").await;
    let group = format!("task.{task}");
    let answer = stranger.ask(json!({"type": "join", "groups": [group]})).await;
    assert_eq!(answer["groups"][0]["error"]["code"], "forbidden", "{answer}");
}

/// A browser sees a task of two steps from its beginning to its end.
async fn watches_two_pictures(site: &mut Site) -> Socket {
    let task = site.start_task("pictures", json!({"count": 2})).await;
    let mut browser = site.gateways[1].v1("7").await;
    site.allow("7", &task).await;
    assert_eq!(browser.frame().await["type"], "joined");
    for current in 1..=2 {
        site.step(&task);
        let progress = json!({"current": current, "total": 2});
        assert_eq!(state(&mut browser, "PROGRESS").await["progress"], progress);
    }
    site.step(&task);
    let success = json!({"type": "task.state", "id": task, "state": "SUCCESS"});
    assert_eq!(browser.event().await, success);
    browser
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_progress_where_results_go_by_rpc() {
    let broker = RedisServer::start();
    let celery = format!("events = {:?}", broker.url());
    let mut site = site_with(broker, json!({"results": "rpc://", "events": true}), &celery).await;
    watches_two_pictures(&mut site).await;
}

/// Waits until as many of three have ended, and reads nothing beyond that.
async fn counted(browser: &mut Socket, current: u64) {
    loop {
        let event = browser.event().await;
        let count = &event["progress"];
        assert_eq!((&count["total"], &count["failed"]), (&json!(3), &json!(0)), "{event}");
        if count["current"] == current {
            return;
        }
        assert_eq!(event["state"], "PROGRESS", "{event}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_the_tasks_of_a_group_a_chord_and_a_chain() {
    counts(&mut site("").await, &["group", "chord", "chain"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_the_tasks_of_a_group_and_a_chain_where_results_go_by_rpc() {
    let broker = RedisServer::start();
    let celery = format!("events = {:?}", broker.url());
    let mut site = site_with(broker, json!({"results": "rpc://", "events": true}), &celery).await;
    // Celery has no chords there.
    counts(&mut site, &["group", "chain"]).await;
}

async fn counts(site: &mut Site, canvases: &[&str]) {
    for &canvas in canvases {
        let (id, tasks) = site.start_tasks(canvas, 3).await;
        let mut browser = site.gateways[0].v1("7").await;
        site.allow("7", &id).await;
        assert_eq!(browser.frame().await["type"], "joined");
        counted(&mut browser, 0).await;
        for (n, task) in tasks.iter().enumerate().take(2) {
            site.step(task);
            counted(&mut browser, n as u64 + 1).await;
        }
        site.step(&tasks[2]);
        let mut event = browser.event().await;
        while event["state"] != "SUCCESS" {
            assert_eq!(event["progress"]["current"], 3, "{canvas}: {event}");
            event = browser.event().await;
        }
        // That of a chord or chain is of its last task.
        assert_eq!(event.get("progress").is_some(), canvas == "group", "{canvas}: {event}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_progress_where_the_broker_is_rabbitmq() {
    let mut rabbit = RabbitServer::start();
    let celery = format!("events = {:?}", rabbit.url());
    let options = json!({"broker": rabbit.url(), "results": "rpc://", "events": true});
    let mut site = site_with(RedisServer::start(), options, &celery).await;
    for gateway in &site.gateways {
        gateway.metric_reaches("groupcast_celery_up", 1.0).await;
    }
    let mut browser = watches_two_pictures(&mut site).await;

    rabbit.kill();
    site.gateways[1].metric_reaches("groupcast_celery_events_lost_total", 1.0).await;
    assert_eq!(site.gateways[1].metric("groupcast_celery_up").await, 0.0);
    rabbit.start_again();
    let answered = Instant::now();
    site.gateways[1].metric_reaches("groupcast_celery_up", 1.0).await;
    assert!(answered.elapsed() < Duration::from_secs(2), "{:?}", answered.elapsed());
    let task = site.start_task("pictures", json!({"count": 0})).await;
    site.allow("7", &task).await;
    assert_eq!(browser.frame().await["type"], "joined");
    site.step(&task);
    state(&mut browser, "SUCCESS").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_worker_was_killed_is_shown_again_when_another_takes_it() {
    let mut site = site_with_late_acknowledgement().await;
    let task = site.start_task("pictures", json!({"count": 2})).await;
    let mut browser = site.gateways[0].v1("7").await;
    site.allow("7", &task).await;
    assert_eq!(browser.frame().await["type"], "joined");
    site.step(&task);
    assert_eq!(state(&mut browser, "PROGRESS").await["progress"]["current"], 1);
    site.worker.write_line(&json!({"kill": true}).to_string());
    assert_eq!(site.worker.line().await, json!({"killed": true}));
    // Redis gives the task to the next worker after the visibility time-out, from the start.
    state(&mut browser, "STARTED").await;
    for current in 1..=2 {
        site.step(&task);
        let progress = json!({"current": current, "total": 2});
        assert_eq!(state(&mut browser, "PROGRESS").await["progress"], progress);
    }
    site.step(&task);
    state(&mut browser, "SUCCESS").await;
}

async fn site_with_late_acknowledgement() -> Site {
    let broker = RedisServer::start();
    let results = format!("{}/1", broker.url());
    let options = json!({"results": results, "late": true});
    site_with(broker, options, &format!("results = {results:?}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_of_a_megabyte_costs_its_own_task_the_result_alone() {
    let mut site = site("show_results = true").await;
    let task = site.start_task("large", json!({"size": 2_000_000})).await;
    let mut browser = site.gateways[0].v1("7").await;
    site.allow("7", &task).await;
    assert_eq!(browser.frame().await["type"], "joined");
    site.step(&task);
    let success = json!({"type": "task.state", "id": task, "state": "SUCCESS",
                         "omitted": "result"});
    assert_eq!(state(&mut browser, "SUCCESS").await, success);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_are_no_uuid_are_watched_too() {
    let mut site = site("").await;
    let mut browser = site.gateways[0].v1("7").await;
    for id in ["photo-7.thumbnails", "7", "a_b-c.d"] {
        site.worker
            .write_line(&json!({"task": "pictures", "kwargs": {"count": 0}, "id": id}).to_string());
        assert_eq!(site.worker.line().await["id"], id);
        site.allow("7", id).await;
        assert_eq!(browser.frame().await["type"], "joined");
        site.step(id);
        state(&mut browser, "SUCCESS").await;
    }
}
