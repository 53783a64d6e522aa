//! Registering groups for senders, and ending the registration.

use super::*;

const HELD: &str = "groupcast:held:{sala_1}";

async fn registrar(instance: &TestInstance, settings: &SourceSettings) -> GroupRegistrar {
    let (django, _) = instance.parts(settings);
    django.registrar
}

impl TestInstance {
    /// Registers groups, as a join does.
    async fn hold(&self, registrar: &GroupRegistrar, names: &[GroupName]) {
        self.layer.subscribe(names).await.unwrap();
        registrar.register(names).await.unwrap();
    }

    /// Ends the registration of groups, as the end of a linger does.
    async fn drop(&self, registrar: &GroupRegistrar, names: &[GroupName]) {
        self.layer.unsubscribe(names).await.unwrap();
        registrar.unregister(names).await;
    }
}

fn members(server: &RedisServer, name: &str) -> String {
    server.ask(&["ZRANGE", &format!("asgi:group:{name}"), "0", "-1"])
}

#[tokio::test]
async fn registers_with_the_time_of_redis_and_the_expiry_of_django() {
    let server = RedisServer::start();
    let settings = settings(1);
    let instance = test_instance(&server, &settings).await;
    let registrar = registrar(&instance, &settings).await;
    instance.hold(&registrar, &groups(&["sala_1"])).await;
    assert_eq!(members(&server, "sala_1"), "*1\r\n$28\r\ngroupcast.groupcast.0!sala_1\r\n");
    assert_eq!(server.ask(&["TTL", "asgi:group:sala_1"]), ":86400\r\n");
    assert_eq!(server.ask(&["EXISTS", HELD]), ":1\r\n");
    let script = "local now = redis.call('TIME')[1]
        return math.abs(now - redis.call('ZSCORE', KEYS[1], ARGV[1])) < 5 and 1 or 0";
    let member = "groupcast.groupcast.0!sala_1";
    assert_eq!(server.ask(&["EVAL", script, "1", "asgi:group:sala_1", member]), ":1\r\n");
}

#[tokio::test]
async fn removes_the_member_of_a_group_that_was_left() {
    let server = RedisServer::start();
    let settings = settings(1);
    let instance = test_instance(&server, &settings).await;
    let registrar = registrar(&instance, &settings).await;
    for n in 0..100 {
        let name = format!("sala_{n}");
        instance.hold(&registrar, &groups(&[&name])).await;
        instance.drop(&registrar, &groups(&[&name])).await;
        assert_eq!(members(&server, &name), "*0\r\n", "{name}");
        assert_eq!(server.ask(&["EXISTS", &format!("groupcast:held:{{{name}}}")]), ":0\r\n");
    }
}

#[tokio::test]
async fn keeps_a_group_registered_that_another_instance_holds() {
    let server = RedisServer::start();
    let settings = settings(1);
    let (here, there) =
        (test_instance(&server, &settings).await, test_instance(&server, &settings).await);
    let (mine, theirs) = (registrar(&here, &settings).await, registrar(&there, &settings).await);
    let sala = groups(&["sala_1"]);
    for _ in 0..50 {
        here.hold(&mine, &sala).await;
        // Whichever is reported first.
        tokio::join!(here.drop(&mine, &sala), there.hold(&theirs, &sala));
        assert_ne!(members(&server, "sala_1"), "*0\r\n");
        assert_eq!(server.ask(&["EXISTS", HELD]), ":1\r\n");
        there.drop(&theirs, &sala).await;
        assert_eq!(members(&server, "sala_1"), "*0\r\n");
    }
}

#[tokio::test]
async fn a_late_refresh_never_restores_a_left_group() {
    let server = RedisServer::start();
    let settings = settings(1);
    let instance = test_instance(&server, &settings).await;
    let registrar = registrar(&instance, &settings).await;
    let names: Vec<_> = (0..300).map(|n| group(&format!("sala_{n}"))).collect();
    instance.hold(&registrar, &names).await;
    instance.layer.unsubscribe(&names).await.unwrap();
    let (refreshed, ()) = tokio::join!(registrar.refresh(true), registrar.unregister(&names));
    refreshed.unwrap();
    assert_eq!(server.ask(&["KEYS", "asgi:group:*"]), "*0\r\n");
    assert_eq!(server.ask(&["KEYS", "groupcast:held:*"]), "*0\r\n");
}

#[tokio::test]
async fn keeps_a_group_with_history_registered_for_its_ttl() {
    let server = RedisServer::start();
    let settings = settings(1);
    let instance = test_instance(&server, &settings).await;
    let registrar = registrar(&instance, &settings).await;
    let pedido = groups(&["pedido.1"]);
    instance.hold(&registrar, &pedido).await;
    instance.drop(&registrar, &pedido).await;
    assert_ne!(members(&server, "pedido.1"), "*0\r\n");
    let left: u64 = server.ask(&["PTTL", "groupcast:held:{pedido.1}"])[1..].trim().parse().unwrap();
    assert!((50_000..=60_000).contains(&left), "{left} ms of its history's minute");
}

#[tokio::test]
async fn restores_a_missing_member_and_announces_a_possible_loss() {
    let server = RedisServer::start();
    let settings = settings(1);
    let mut instance = test_instance(&server, &settings).await;
    let registrar = registrar(&instance, &settings).await;
    let names = groups(&["pedido.1", "sala_1"]);
    instance.hold(&registrar, &names).await;
    server.ask(&["HSET", "groupcast:numbering:{pedido.1}", "epoch", "1.x", "offset", "7"]);
    server.ask(&["DEL", "asgi:group:sala_1", "asgi:group:pedido.1"]);
    registrar.refresh(true).await.unwrap();
    assert_ne!(members(&server, "sala_1"), "*0\r\n");
    let mut announced = instance.take(2).await;
    announced.sort();
    assert_eq!(announced, ["gap in [\"pedido.1\"]", "gap in [\"sala_1\"]"]);
    assert_eq!(instance.metric("groupcast_source_missing_total "), 2);
    let numbering = server.ask(&["EXISTS", "groupcast:numbering:{pedido.1}"]);
    assert_eq!(numbering, ":0\r\n", "positions from before are worth nothing");
    registrar.refresh(true).await.unwrap();
    assert_eq!(instance.metric("groupcast_source_missing_total "), 2, "once");
}

#[tokio::test]
async fn keeps_entries_parked_until_an_instance_listens() {
    let server = RedisServer::start();
    let settings = settings(1);
    let mut instance = test_instance(&server, &settings).await;
    let registrar = registrar(&instance, &settings).await;
    let sala = groups(&["sala_1"]);
    instance.hold(&registrar, &sala).await;
    instance.layer.unsubscribe(&sala).await.unwrap();
    until("the group has no listener", || {
        server.ask(&["PUBSUB", "NUMSUB", "groupcast:group:sala_1"]).ends_with(":0\r\n")
    })
    .await;
    server.ask(&["RPUSH", "groupcast:waiting:{sala_1}", "1\n{\"type\":\"n1\"}"]);
    registrar.refresh(true).await.unwrap();
    assert_eq!(server.ask(&["LLEN", "groupcast:waiting:{sala_1}"]), ":1\r\n");
    server.ask(&["DEL", "groupcast:waiting:{sala_1}"]);
    instance.hold(&registrar, &sala).await;
    server.ask(&["PUBLISH", "groupcast:group:sala_1", "{\"type\":\"n2\"}"]);
    assert_eq!(instance.next().await, "n2");
}
