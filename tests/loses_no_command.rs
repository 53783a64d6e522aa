//! A command that was answered 202 takes effect on every instance, whatever it missed.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    BackEnd, Endpoints, Gateway, Instance, Received, RedisServer, Socket, eventually,
};
use crate::two_instances::{gateway, over};

/// Ends all subscriptions: what Redis publishes until they are back arrives nowhere.
fn kill_subscriptions(server: &RedisServer) {
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
}

async fn command(on: &Endpoints, line: &str) {
    let answer = on.ask(line, &[], "").await;
    assert_eq!(answer.status, 202, "{line}: {}", answer.body);
}

/// The next frame that is no gap.
async fn behind_gaps(socket: &mut Socket) -> Value {
    loop {
        let frame = socket.frame().await;
        if frame["type"] != "gap" {
            return frame;
        }
    }
}

async fn closed_behind_gaps(socket: &mut Socket) -> u16 {
    loop {
        match socket.receive().await {
            Received::Close(code, _) => return code,
            Received::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// How many seconds the latest heartbeats of the instances are apart.
fn missed_seconds(server: &RedisServer) -> u64 {
    let latest = server.ask(&["ZRANGE", "groupcast:instances", "0", "-1", "WITHSCORES"]);
    let seconds = latest.lines().filter_map(|line| line.parse::<u64>().ok());
    let seconds: Vec<_> = seconds.filter(|second| *second > 1_000_000_000).collect();
    seconds.iter().max().unwrap_or(&0) - seconds.iter().min().unwrap_or(&0)
}

async fn stopped(instance: &Instance) {
    instance.signal(Signal::SIGSTOP);
    eventually("the instance to stop", async || instance.is_stopped()).await;
}

#[tokio::test]
async fn commands_take_effect_although_every_subscription_was_just_lost() {
    let server = RedisServer::start();
    let (one, two) = (gateway(&server).await, gateway(&server).await);
    for round in 0..5 {
        let sub = format!("u{round}");
        let mut bea = two.v1(&sub).await;
        kill_subscriptions(&server);
        command(&one, &format!("PUT /groups/sala_9/members/user:{sub}")).await;
        assert_eq!(behind_gaps(&mut bea).await["type"], "joined", "round {round}");
        two.ready().await;
        kill_subscriptions(&server);
        command(&one, &format!("DELETE /groups/sala_9/members/user:{sub}")).await;
        assert_eq!(behind_gaps(&mut bea).await["type"], "left", "round {round}");
        two.ready().await;
        kill_subscriptions(&server);
        command(&one, &format!("POST /users/{sub}/close?code=4401")).await;
        assert_eq!(closed_behind_gaps(&mut bea).await, 4401, "round {round}");
        two.ready().await;
    }
}

#[tokio::test]
async fn a_secret_published_after_a_lost_leave_is_not_seen() {
    let server = RedisServer::start();
    let (one, two) = (gateway(&server).await, gateway(&server).await);
    for round in 0..5 {
        let sub = format!("u{round}");
        let mut bea = two.v1(&sub).await;
        let joined = bea.ask(json!({"type": "join", "groups": ["pedido.1"]})).await;
        assert_eq!(joined["type"], "joined");
        kill_subscriptions(&server);
        command(&one, &format!("DELETE /groups/pedido.1/members/user:{sub}")).await;
        // With a history, so that losing it is no excuse.
        one.publish("pedido.1", json!({"type": "secreto"})).await;
        two.ready().await;
        one.publish("pedido.1", json!({"type": "secreto"})).await;
        one.send(&format!("/users/{sub}/send"), json!({"type": "fin"})).await;
        let mut types = Vec::new();
        while types.last() != Some(&json!("fin")) {
            let frame = behind_gaps(&mut bea).await;
            let of_event = frame["type"] == "event";
            types.push(if of_event {
                frame["data"]["type"].clone()
            } else {
                frame["type"].clone()
            });
        }
        assert_eq!(types, [json!("left"), json!("fin")]);
    }
}

#[tokio::test]
async fn a_farewell_published_before_a_close_is_seen() {
    let server = RedisServer::start();
    let (one, two) = (gateway(&server).await, gateway(&server).await);
    for round in 0..10 {
        let mut bea = two.v1("bea").await;
        one.send("/users/bea/send", json!({"type": "adios"})).await;
        command(&one, "POST /users/bea/close").await;
        assert_eq!(bea.event().await, json!({"type": "adios"}), "round {round}");
        assert_eq!(bea.closed().await.0, 4403);
    }
}

#[tokio::test]
async fn a_stopped_instance_catches_up_when_it_continues() {
    let server = RedisServer::start();
    let one = gateway(&server).await;
    let two = Instance::start(&over(&server)).await;
    two.ready().await;
    let (mut ana, mut bea) = (two.v1("ana").await, two.v1("bea").await);
    stopped(&two).await;
    command(&one, "POST /users/ana/close").await;
    kill_subscriptions(&server);
    command(&one, "POST /users/bea/close?code=4409").await;
    two.signal(Signal::SIGCONT);
    assert_eq!(closed_behind_gaps(&mut ana).await, 4403);
    assert_eq!(closed_behind_gaps(&mut bea).await, 4409);
}

#[tokio::test]
async fn an_instance_that_is_stopped_while_redis_restarts_catches_up() {
    for empty in [false, true] {
        let mut server = RedisServer::start();
        let one = gateway(&server).await;
        let two = Instance::start(&over(&server)).await;
        two.ready().await;
        let mut bea = two.v1("bea").await;
        stopped(&two).await;
        kill_subscriptions(&server);
        command(&one, "POST /users/bea/close").await;
        server.kill();
        if empty {
            server.wipe();
        }
        server.start_again();
        one.ready().await;
        two.signal(Signal::SIGCONT);
        assert_eq!(closed_behind_gaps(&mut bea).await, 4403, "empty: {empty}");
    }
}

#[tokio::test]
async fn a_user_who_comes_back_is_not_closed_by_a_late_command() {
    let server = RedisServer::start();
    let one = gateway(&server).await;
    let two = Instance::start(&over(&server)).await;
    two.ready().await;
    for round in 0..3 {
        let mut bea = two.v1("bea").await;
        stopped(&two).await;
        kill_subscriptions(&server);
        command(&one, "POST /users/bea/close").await;
        eventually("two heartbeats to be missed", async || missed_seconds(&server) >= 2).await;
        two.signal(Signal::SIGCONT);
        let mut again = two.v1("bea").await;
        assert_eq!(closed_behind_gaps(&mut bea).await, 4403, "round {round}");
        two.ready().await;
        one.ready().await;
        one.send("/users/bea/send", json!({"type": "sigue"})).await;
        assert_eq!(behind_gaps(&mut again).await["data"], json!({"type": "sigue"}));
    }
}

#[tokio::test]
async fn a_command_accepted_before_redis_lost_its_data_takes_effect() {
    let mut server = RedisServer::start();
    for round in 0..3 {
        let (one, two) = (gateway(&server).await, gateway(&server).await);
        let mut bea = two.v1("bea").await;
        kill_subscriptions(&server);
        command(&one, "POST /users/bea/close?code=4409").await;
        match round {
            0 => drop(server.ask(&["FLUSHALL"])),
            empty => {
                server.kill();
                if empty == 1 {
                    server.wipe();
                }
                server.start_again();
            }
        }
        assert_eq!(closed_behind_gaps(&mut bea).await, 4409, "round {round}");
        two.ready().await;
    }
}

#[tokio::test]
async fn a_command_that_is_appended_again_does_not_close_who_came_back() {
    let server = RedisServer::start();
    let (one, two) = (gateway(&server).await, gateway(&server).await);
    let mut bea = two.v1("bea").await;
    command(&one, "POST /users/bea/close").await;
    assert_eq!(bea.closed().await.0, 4403);
    let mut bea = two.v1("bea").await;
    // Appended again, for an instance that knows nothing of it, too.
    server.ask(&["FLUSHALL"]);
    eventually("the command to be appended again", async || {
        server.ask(&["XLEN", "groupcast:commands"]) == ":1\r\n"
    })
    .await;
    let three = gateway(&server).await;
    let mut again = three.v1("bea").await;
    one.ready().await;
    two.ready().await;
    one.send("/users/bea/send", json!({"type": "sigue"})).await;
    assert_eq!(behind_gaps(&mut bea).await["data"], json!({"type": "sigue"}));
    assert_eq!(behind_gaps(&mut again).await["data"], json!({"type": "sigue"}));
}

#[tokio::test]
async fn who_missed_commands_for_good_closes_everybody_and_asks_anew() {
    let server = RedisServer::start();
    let one = gateway(&server).await;
    let back_end = BackEnd::start();
    let configuration = format!(
        "{}{}[auth]\nallowed_origins = [\"https://panel.example\"]\n[[route]]\npath = \"/ws\"\n",
        over(&server),
        back_end.configuration("")
    );
    let two = Instance::start(&configuration).await;
    two.ready().await;
    let arrive = async || {
        let headers = [("Cookie", "sessionid=7"), ("Sec-WebSocket-Protocol", "groupcast.v1.json")];
        let mut socket = Socket::open(two.public, "/ws", &headers).await;
        socket.send(json!({"type": "hello"})).await;
        socket.welcome().await;
        socket
    };
    let mut bea = arrive().await;
    let asked = async || two.metric(r#"groupcast_hooks_total{source="asked"}"#).await;
    let before = asked().await;
    stopped(&two).await;
    kill_subscriptions(&server);
    command(&one, "POST /users/7/close").await;
    server.ask(&["DEL", "groupcast:commands"]);
    two.signal(Signal::SIGCONT);
    let (code, reason) = bea.closed().await;
    assert_eq!(code, 4503);
    assert!(reason["retry_ms"].as_u64().is_some_and(|window| window >= 1000), "{reason}");
    arrive().await;
    assert!(asked().await > before, "past the cache");
    assert!(two.log().contains("commands of back ends were missed"));
    assert_eq!(two.metric("groupcast_layer_commands_missed_total").await, 1.0);
}

#[tokio::test]
async fn an_instance_that_starts_does_not_use_the_verdict_of_a_closed_user() {
    let server = RedisServer::start();
    let back_end = BackEnd::start();
    let configuration = format!(
        "{}{}[auth]\nallowed_origins = [\"https://panel.example\"]\n[[route]]\npath = \"/ws\"\n",
        over(&server),
        back_end.configuration("")
    );
    let arrive = async |on: &Endpoints| {
        let headers = [("Cookie", "sessionid=7"), ("Sec-WebSocket-Protocol", "groupcast.v1.json")];
        let mut socket = Socket::open(on.public, "/ws", &headers).await;
        socket.send(json!({"type": "hello"})).await;
        socket.welcome().await;
        socket
    };
    let one = Gateway::with(&configuration).await;
    one.ready().await;
    let mut bea = arrive(&one).await;
    command(&one, "POST /users/7/close").await;
    bea.closed().await;
    let two = Gateway::with(&configuration).await;
    two.ready().await;
    arrive(&two).await;
    assert_eq!(two.metric(r#"groupcast_hooks_total{source="asked"}"#).await, 1.0);
}

#[tokio::test]
async fn a_full_stream_answers_503() {
    let server = RedisServer::start();
    let one = gateway(&server).await;
    let script = "local time = redis.call('TIME')
        for n = 1, 65536 do
          redis.call('XADD', KEYS[1], n .. '-0', 't', time[1] .. '000', 'g', '1')
        end
        redis.call('HSET', KEYS[2], 'commands', '1 65536 0')";
    server.ask(&["EVAL", script, "2", "groupcast:commands", "groupcast:gen"]);
    let answer = one.ask("POST /users/7/close", &[], "").await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("65536"), "{}", answer.body);
    tokio::time::timeout(Duration::from_secs(20), one.ready()).await.unwrap();
}
