//! Being found by senders, and not being found any more.

use super::*;

const HELD: &str = "groupcast:held:{sala_1}";

async fn registrar(ground: &Ground, settings: &Settings) -> GroupRegistrar {
    parts(settings, ground.redis(), 64 * 1024, &ground.metrics.channels).unwrap().1
}

impl Ground {
    /// What a join does.
    async fn hold(&self, registrar: &GroupRegistrar, names: &[GroupName]) {
        self.layer.subscribe(names).await.unwrap();
        registrar.enter(names).await.unwrap();
    }

    /// What the end of a linger does.
    async fn drop(&self, registrar: &GroupRegistrar, names: &[GroupName]) {
        self.layer.unsubscribe(names).await.unwrap();
        registrar.leave(names).await;
    }
}

fn members(server: &RedisServer, name: &str) -> String {
    server.ask(&["ZRANGE", &format!("asgi:group:{name}"), "0", "-1"])
}

#[tokio::test]
async fn a_held_group_is_found_with_redis_own_time_and_djangos_expiry() {
    let server = RedisServer::start();
    let settings = settings(1);
    let ground = ground(&server, &settings).await;
    let registrar = registrar(&ground, &settings).await;
    ground.hold(&registrar, &groups(&["sala_1"])).await;
    assert_eq!(members(&server, "sala_1"), "*1\r\n$28\r\ngroupcast.groupcast.0!sala_1\r\n");
    assert_eq!(server.ask(&["TTL", "asgi:group:sala_1"]), ":86400\r\n");
    assert_eq!(server.ask(&["EXISTS", HELD]), ":1\r\n");
    let script = "local now = redis.call('TIME')[1]
        return math.abs(now - redis.call('ZSCORE', KEYS[1], ARGV[1])) < 5 and 1 or 0";
    let member = "groupcast.groupcast.0!sala_1";
    assert_eq!(server.ask(&["EVAL", script, "1", "asgi:group:sala_1", member]), ":1\r\n");
}

#[tokio::test]
async fn a_group_that_was_left_is_not_found_from_that_moment_on() {
    let server = RedisServer::start();
    let settings = settings(1);
    let ground = ground(&server, &settings).await;
    let registrar = registrar(&ground, &settings).await;
    for n in 0..100 {
        let name = format!("sala_{n}");
        ground.hold(&registrar, &groups(&[&name])).await;
        ground.drop(&registrar, &groups(&[&name])).await;
        assert_eq!(members(&server, &name), "*0\r\n", "{name}");
        assert_eq!(server.ask(&["EXISTS", &format!("groupcast:held:{{{name}}}")]), ":0\r\n");
    }
}

#[tokio::test]
async fn what_is_left_here_and_held_elsewhere_is_found_all_the_same() {
    let server = RedisServer::start();
    let settings = settings(1);
    let (here, there) = (ground(&server, &settings).await, ground(&server, &settings).await);
    let (mine, theirs) = (registrar(&here, &settings).await, registrar(&there, &settings).await);
    let sala = groups(&["sala_1"]);
    for _ in 0..50 {
        here.hold(&mine, &sala).await;
        // Whichever comes first.
        tokio::join!(here.drop(&mine, &sala), there.hold(&theirs, &sala));
        assert_ne!(members(&server, "sala_1"), "*0\r\n");
        assert_eq!(server.ask(&["EXISTS", HELD]), ":1\r\n");
        there.drop(&theirs, &sala).await;
        assert_eq!(members(&server, "sala_1"), "*0\r\n");
    }
}

#[tokio::test]
async fn a_late_refresh_brings_nothing_back_that_was_left() {
    let server = RedisServer::start();
    let settings = settings(1);
    let ground = ground(&server, &settings).await;
    let registrar = registrar(&ground, &settings).await;
    let names: Vec<_> = (0..300).map(|n| group(&format!("sala_{n}"))).collect();
    ground.hold(&registrar, &names).await;
    ground.layer.unsubscribe(&names).await.unwrap();
    let (refreshed, ()) = tokio::join!(registrar.refresh(true), registrar.leave(&names));
    refreshed.unwrap();
    assert_eq!(server.ask(&["KEYS", "asgi:group:*"]), "*0\r\n");
    assert_eq!(server.ask(&["KEYS", "groupcast:held:*"]), "*0\r\n");
}

#[tokio::test]
async fn a_group_with_a_history_is_found_until_nobody_can_come_back_to_it() {
    let server = RedisServer::start();
    let settings = settings(1);
    let ground = ground(&server, &settings).await;
    let registrar = registrar(&ground, &settings).await;
    let pedido = groups(&["pedido.1"]);
    ground.hold(&registrar, &pedido).await;
    ground.drop(&registrar, &pedido).await;
    assert_ne!(members(&server, "pedido.1"), "*0\r\n");
    let left: u64 = server.ask(&["PTTL", "groupcast:held:{pedido.1}"])[1..].trim().parse().unwrap();
    assert!((50_000..=60_000).contains(&left), "{left} ms of its history's minute");
}

#[tokio::test]
async fn a_member_found_missing_is_written_again_and_told() {
    let server = RedisServer::start();
    let settings = settings(1);
    let mut ground = ground(&server, &settings).await;
    let registrar = registrar(&ground, &settings).await;
    let names = groups(&["pedido.1", "sala_1"]);
    ground.hold(&registrar, &names).await;
    server.ask(&["HSET", "groupcast:numbering:{pedido.1}", "epoch", "1.x", "offset", "7"]);
    server.ask(&["DEL", "asgi:group:sala_1", "asgi:group:pedido.1"]);
    registrar.refresh(true).await.unwrap();
    assert_ne!(members(&server, "sala_1"), "*0\r\n");
    let mut told = ground.take(2).await;
    told.sort();
    assert_eq!(told, ["gap in [\"pedido.1\"]", "gap in [\"sala_1\"]"]);
    assert_eq!(ground.metric("groupcast_source_missing_total "), 2);
    let numbering = server.ask(&["EXISTS", "groupcast:numbering:{pedido.1}"]);
    assert_eq!(numbering, ":0\r\n", "positions from before are worth nothing");
    registrar.refresh(true).await.unwrap();
    assert_eq!(ground.metric("groupcast_source_missing_total "), 2, "once");
}

#[tokio::test]
async fn what_waits_is_not_spent_on_nobody() {
    let server = RedisServer::start();
    let settings = settings(1);
    let mut ground = ground(&server, &settings).await;
    let registrar = registrar(&ground, &settings).await;
    let sala = groups(&["sala_1"]);
    ground.hold(&registrar, &sala).await;
    ground.layer.unsubscribe(&sala).await.unwrap();
    until("nobody listens", || {
        server.ask(&["PUBSUB", "NUMSUB", "groupcast:group:sala_1"]).ends_with(":0\r\n")
    })
    .await;
    server.ask(&["RPUSH", "groupcast:waiting:{sala_1}", "1\n{\"type\":\"n1\"}"]);
    registrar.refresh(true).await.unwrap();
    assert_eq!(server.ask(&["LLEN", "groupcast:waiting:{sala_1}"]), ":1\r\n");
    server.ask(&["DEL", "groupcast:waiting:{sala_1}"]);
    ground.hold(&registrar, &sala).await;
    server.ask(&["PUBLISH", "groupcast:group:sala_1", "{\"type\":\"n2\"}"]);
    assert_eq!(ground.next().await, "n2");
}
