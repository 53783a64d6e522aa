//! Registering groups for senders, and ending the registration.

use super::listening::publication;
use super::*;
use crate::event::{Position, Recovery};

const HELD: &str = "groupcast:held:{sala_1}";

async fn registrar(instance: &TestInstance, settings: &SourceSettings) -> GroupRegistrar {
    let (django, _) = instance.parts(settings);
    django.registrar
}

impl TestInstance {
    /// Registers groups, as a join does.
    async fn hold(&self, registrar: &GroupRegistrar, names: &[GroupName]) {
        self.layer.subscribe(names).await.unwrap();
        registrar.register(names, ChosenBy::Server).await.unwrap();
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

async fn stands(instance: &TestInstance, name: &str, since: Option<Position>) -> Recovery {
    let asked = [(group(name), since)];
    instance.layer.recover(&asked).await.unwrap().remove(0).unwrap()
}

/// How long a key stays, ms.
fn stays(server: &RedisServer, key: &str) -> i64 {
    server.ask(&["PTTL", key])[1..].trim().parse().unwrap()
}

#[tokio::test]
async fn a_name_that_only_clients_chose_costs_nothing_after_a_minute() {
    let server = RedisServer::start();
    let settings = settings(1);
    let instance = test_instance_keeping(&server, &settings, 3600).await;
    let registrar = registrar(&instance, &settings).await;
    let hold = async |name: &str, chosen_by| {
        let names = groups(&[name]);
        instance.layer.subscribe(&names).await.unwrap();
        registrar.register(&names, chosen_by).await.unwrap();
        stands(&instance, name, None).await;
    };
    let held = |name: &str| stays(&server, &format!("groupcast:held:{{{name}}}"));
    let registered = |name: &str| stays(&server, &format!("asgi:group:{name}"));
    let before = server.ask(&["DBSIZE"]);
    for name in ["pedido.1", "pedido.2", "pedido.3", "pedido.4"] {
        hold(name, ChosenBy::Client).await;
    }
    hold("pedido.5", ChosenBy::Server).await;
    hold("sala_1", ChosenBy::Client).await;
    // Another one is named by the server later, and to one something is published.
    registrar.name(&groups(&["pedido.3"]));
    instance.layer.publish(publication("pedido.4", "a")).await.unwrap();
    let all = ["pedido.1", "pedido.2", "pedido.3", "pedido.4", "pedido.5", "sala_1"];
    instance.drop(&registrar, &groups(&all)).await;
    for name in ["pedido.1", "pedido.2"] {
        assert!((55_000..=60_000).contains(&held(name)), "{name}: {} ms", held(name));
        assert!((55_000..=61_000).contains(&registered(name)), "{name}: {}", registered(name));
    }
    for name in ["pedido.3", "pedido.4", "pedido.5"] {
        assert!(held(name) > 3_500_000, "{name}: {} ms", held(name));
        assert!((3_500_000..=3_601_000).contains(&registered(name)), "{}", registered(name));
    }
    // As if the minute were over.
    for name in ["pedido.1", "pedido.2", "pedido.3", "pedido.5"] {
        server.ask(&["DEL", &format!("groupcast:held:{{{name}}}"), &format!("asgi:group:{name}")]);
    }
    server.ask(&["DEL", "groupcast:held:{pedido.4}", "asgi:group:pedido.4"]);
    server.ask(&["DEL", "groupcast:numbering:{pedido.4}", "groupcast:log:{pedido.4}"]);
    assert_eq!(server.ask(&["DBSIZE"]), before, "{}", server.ask(&["KEYS", "*"]));
}

#[tokio::test]
async fn an_absence_ends_positions_before_any_publication() {
    let server = RedisServer::start();
    let settings = settings(1);
    let mut instance = test_instance(&server, &settings).await;
    let registrar = registrar(&instance, &settings).await;
    let name = groups(&["pedido.1"]);
    instance.hold(&registrar, &name).await;
    let start = stands(&instance, "pedido.1", None).await.position;
    assert_eq!(stands(&instance, "pedido.1", start.clone()).await.recovered, Some(true));
    instance.drop(&registrar, &name).await;
    instance.hold(&registrar, &name).await;
    let again = stands(&instance, "pedido.1", start.clone()).await;
    assert_eq!(again.recovered, Some(true), "senders have found it all the time");
    server.ask(&["DEL", "asgi:group:pedido.1"]);
    registrar.refresh(true).await.unwrap();
    assert_eq!(instance.take(1).await, ["gap in [\"pedido.1\"]"]);
    let since = stands(&instance, "pedido.1", None).await.position;
    assert_eq!(stands(&instance, "pedido.1", since).await.recovered, Some(true));
    // And one from before anybody held it.
    let (generation, second) = start.as_ref().unwrap().epoch.split_once(".0.").unwrap();
    let earlier = format!("{generation}.0.{}", second.parse::<u64>().unwrap() - 5);
    let earlier = Position { epoch: earlier.into(), offset: 0 };
    for since in [start.clone(), again.position, Some(earlier)] {
        assert_eq!(stands(&instance, "pedido.1", since).await.recovered, Some(false));
    }
}
