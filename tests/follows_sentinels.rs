//! Sentinels move the primary: planned, because it died, because it hangs. Whatever is accepted
//! meanwhile arrives, or a gap tells that something may be missing; nothing twice or out of order.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{
    Cost, Folder, Gateway, OutageTrial, WatchedRedis, complete_config, eventually, request,
};

/// The longest until delivery resumes once a replica has been promoted.
const RESUMED: Duration = Duration::from_secs(2);

/// The command that gives the rights at a sentinel, in docs/redis.md.
fn documented_rights() -> Vec<&'static str> {
    let lines = include_str!("../docs/redis.md").lines().map(str::trim);
    let mut rights = lines.filter(|line| line.starts_with("ACL") && line.contains("sentinel|"));
    rights.next().expect("the line is there").split(' ').collect()
}

fn over(url: &str) -> String {
    let history = "[[layer.history]]\npattern = \"pedido.*\"\nsize = 200\n";
    format!("[layer]\nkind = \"redis\"\nurl = \"{url}\"\n{history}")
}

/// A gateway that is ready.
async fn gateway(url: &str) -> Gateway {
    let gateway = Gateway::with(&over(url)).await;
    gateway.ready().await;
    gateway
}

/// Publishes at one of two instances while `fault` makes the replica the primary. Returns what that
/// cost from the promotion on, and how long the promotion took.
async fn cost(
    watched: &WatchedRedis,
    group: &'static str,
    fault: impl FnOnce(&WatchedRedis),
) -> (Cost, Duration) {
    let configuration = over(&watched.url());
    let trial = OutageTrial::start(&[configuration.clone(), configuration], group).await;
    let began = Instant::now();
    fault(watched);
    watched.promoted(1).await;
    let promoted = Instant::now();
    eventually("both to be connected to the new primary", async || {
        let channel = format!("groupcast:group:{group}");
        watched.servers[1].ask(&["PUBSUB", "NUMSUB", &channel]).ends_with(":2\r\n")
    })
    .await;
    let cost = trial.end(promoted).await;
    println!("promoted after {:?}", promoted - began);
    assert!(cost.gaps.iter().all(|gaps| *gaps > 0), "a gap tells of the failover: {cost:?}");
    assert!(cost.resumed < RESUMED, "{cost:?}");
    (cost, promoted - began)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_is_followed_at_once() {
    let watched = WatchedRedis::start(&[], "").await;
    let (cost, _) = cost(&watched, "sala_1", |watched| {
        let answer = watched.sentinels[0].ask(&["SENTINEL", "FAILOVER", "mymaster"]);
        assert_eq!(answer, "+OK\r\n");
    })
    .await;
    assert_eq!(cost.lost[0], 0, "what an instance accepts reaches its own members");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_died_is_followed_by_its_replica() {
    let watched = WatchedRedis::start(&[], "").await;
    let (cost, _) = cost(&watched, "pedido.1", |watched| watched.signal(0, Signal::SIGKILL)).await;
    assert_eq!(cost.lost[0], 0, "what an instance accepts reaches its own members");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_hangs_is_followed_by_its_replica() {
    let watched = WatchedRedis::start(&[], "").await;
    let (cost, _) = cost(&watched, "sala_1", |watched| watched.signal(0, Signal::SIGSTOP)).await;
    watched.signal(0, Signal::SIGCONT);
    assert_eq!(cost.lost[0], 0, "what an instance accepts reaches its own members");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_starts_by_any_sentinel_that_answers() {
    let mut watched = WatchedRedis::start(&[], "").await;
    watched.sentinels[0].kill();
    let url = watched.url().replace("redis-sentinel://", "redis+sentinel://");
    let gateway = gateway(&url).await;
    let mut ana = gateway.v1("ana").await;
    ana.join("sala_1").await;
    // Without any sentinel everything stays where it is.
    watched.sentinels[1].kill();
    watched.sentinels[2].kill();
    gateway.still_serves_group(&mut ana, "sala_1").await;
    watched.sentinels[1].start_again();
    assert_eq!(watched.named(1), Some(watched.servers[0].address()));
    gateway.still_serves_group(&mut ana, "sala_1").await;
    assert_eq!(gateway.metric("groupcast_layer_subscription_lost_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_have_credentials_of_their_own() {
    let watched = WatchedRedis::start(&[], "").await;
    for server in &watched.servers {
        let rights = ["ACL", "SETUSER", "groupcast", "on", ">redis word", "~*", "&*", "+@all"];
        assert_eq!(server.ask(&rights), "+OK\r\n");
    }
    for sentinel in &watched.sentinels {
        assert_eq!(sentinel.ask(&documented_rights()), "+OK\r\n");
    }
    let url = watched.url().replace("//", "//groupcast:redis%20word@");
    let with = |password| format!("{url}?sentinel_username=groupcast&sentinel_password={password}");
    let gateway = gateway(&with("secret")).await;
    let mut ana = gateway.v1("ana").await;
    ana.join("sala_1").await;
    gateway.still_serves_group(&mut ana, "sala_1").await;
    let refused = Gateway::with(&over(&with("another"))).await;
    eventually("the words of a sentinel", async || {
        let answer = request(refused.api, "GET /readyz?strict", &[], b"").await;
        answer.body.contains("the sentinel 127.0.0.1:") && answer.body.contains("WRONGPASS")
    })
    .await;
}

#[tokio::test]
async fn doctor_shows_what_the_sentinels_say() {
    let mut watched = WatchedRedis::start(&[], "").await;
    let folder = Folder::with(&complete_config(&over(&watched.url())));
    let shown = || {
        let output = folder.output(&["doctor"]);
        // Long lines are broken.
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let text = shown();
    let primary = watched.servers[0].address();
    assert!(text.contains(&format!("3 of 3 answer; mymaster is {primary}")), "{text}");
    assert!(text.contains("2 other sentinels, quorum 2, replicas: 1"), "{text}");
    assert!(text.contains("ok min-replicas min-replicas-to-write is 0"), "{text}");
    watched.sentinels[2].kill();
    let away = watched.sentinels[2].address();
    let text = shown();
    assert!(text.contains(&format!("warn sentinel {away} does not answer")), "{text}");
    assert!(text.contains("2 of 3 answer"), "{text}");
    watched.sentinels[0].kill();
    watched.sentinels[1].kill();
    assert!(shown().contains("fail sentinels none of 3 answers"), "{}", shown());
}
