//! An instance that is stopped is no listener: what is sent to its groups waits until it has
//! continued, or until the client has returned elsewhere.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Django, Instance, RedisServer, Socket, eventually};

const WAITING: &str = "groupcast:waiting:{sala_1}";

/// Two instances; the first has been stopped for so long that it no longer counts. It has a member
/// of `sala_1`.
async fn with_one_stopped(server: &RedisServer) -> ([Instance; 2], Socket) {
    let configuration = Django::core(server).gateway();
    let instances = [Instance::start(&configuration).await, Instance::start(&configuration).await];
    for instance in &instances {
        instance.metric_reaches("groupcast_layer_peers", 1.0).await;
    }
    let mut member = instances[0].v1("7").await;
    member.join("sala_1").await;
    instances[0].signal(Signal::SIGSTOP);
    eventually("the silence to be noticed", async || {
        instances[1].metric("groupcast_layer_peers").await == 0.0
    })
    .await;
    (instances, member)
}

/// Sends `a`, `c` by way of the ingress stream and `b`, `d`, `e`, `f` by way of the API.
async fn send_both_ways(server: &RedisServer, instance: &Instance) {
    let add = |kind: &str| {
        let event = json!({"type": kind}).to_string();
        server.ask(&["XADD", "groupcast:ingress", "*", "group", "sala_1", "event", &event]);
    };
    let waiting = async |count: usize| {
        eventually("the entry to wait", async || {
            server.ask(&["LLEN", WAITING]) == format!(":{count}\r\n")
        })
        .await;
    };
    add("a");
    waiting(1).await;
    instance.publish("sala_1", json!({"type": "b"})).await;
    waiting(2).await;
    add("c");
    waiting(3).await;
    let of = |group: &str, kind: &str| json!({"groups": [group], "event": {"type": kind}});
    let all = [of("sala_2", "x"), of("sala_1", "d"), of("sala_1", "e"), of("sala_2", "y")];
    let batch = json!({"publications": all});
    let answer = instance.ask("POST /batch", &[], &batch.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    waiting(5).await;
    let keyed = json!({"type": "f"}).to_string();
    let key = ["Idempotency-Key: 1"];
    let answer = instance.ask("POST /groups/sala_1/send", &key, &keyed).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    waiting(6).await;
}

#[tokio::test]
async fn a_continued_instance_delivers_what_waited_in_order() {
    let server = RedisServer::start();
    let (instances, mut member) = with_one_stopped(&server).await;
    send_both_ways(&server, &instances[1]).await;
    instances[0].signal(Signal::SIGCONT);
    for kind in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(member.event().await, json!({"type": kind}));
    }
    instances[1].still_serves_group(&mut member, "sala_1").await;
    assert_eq!(server.ask(&["EXISTS", WAITING, "groupcast:parking"]), ":0\r\n");
}

#[tokio::test]
async fn what_waits_for_a_stopped_instance_reaches_a_client_that_returns_elsewhere() {
    let server = RedisServer::start();
    let (mut instances, member) = with_one_stopped(&server).await;
    send_both_ways(&server, &instances[1]).await;
    instances[0].kill();
    drop(member);
    let mut member = instances[1].v1("7").await;
    member.join("sala_1").await;
    for kind in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(member.event().await, json!({"type": kind}));
    }
    instances[1].still_serves_group(&mut member, "sala_1").await;
}
