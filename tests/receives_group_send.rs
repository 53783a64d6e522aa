//! Django's and Celery's unchanged `group_send` reaches every browser, once and in order.

use serde_json::{Value, json};

use crate::support::{
    DeliveryOracle, Django, Expected, Gateway, Python, RedisServer, VirtualClients, expected_of,
    token,
};

/// Two gateways on one Redis.
async fn two(django: &Django) -> [Gateway; 2] {
    let gateways = [Gateway::with(&django.gateway()).await, Gateway::with(&django.gateway()).await];
    for gateway in &gateways {
        gateway.ready().await;
    }
    gateways
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("sala_{n}")).collect()
}

/// Clients of each group, spread over both gateways.
async fn clients(gateways: &[Gateway; 2], groups: &[String], each: usize) -> VirtualClients {
    let mut clients =
        VirtualClients::new(gateways.iter().map(|gateway| gateway.public).collect(), 1);
    for group in groups {
        for _ in 0..each {
            clients.add(&[group]);
        }
    }
    clients.wait_until_joined().await;
    clients
}

/// Asserts that no client got a gap and that the library dropped nothing.
fn assert_complete(summary: &Value, oracles: &[DeliveryOracle], each: u64) {
    assert_eq!(summary["over_capacity"], 0, "no mailbox was ever full: {summary}");
    for oracle in oracles {
        assert_eq!((oracle.events, oracle.gaps, oracle.repetitions), (each, 0, 0));
    }
}

/// Senders wait while the mailbox is half full. The test is about losses and order, not about how
/// fast a debug build drains on a loaded machine.
const BELOW: u64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivers_ten_thousand_from_four_processes_to_five_hundred_clients() {
    let server = RedisServer::start();
    let django = Django::core(&server);
    let gateways = two(&django).await;
    let groups = names(50);
    let clients = clients(&gateways, &groups, 10).await;
    let sent = django.options(json!({"groups": groups, "events": 2500, "below": BELOW}));
    let summary = Python::send(sent).await;
    assert_eq!(summary["sent"], 10_000);
    assert_complete(&summary, &clients.finish(expected_of(&summary)).await, 200);
}

/// A small run with a setting of the library: four processes, two groups, four clients each.
async fn small(django: Django, more: Value) -> (Value, Vec<DeliveryOracle>) {
    let gateways = two(&django).await;
    let groups = names(2);
    let clients = clients(&gateways, &groups, 4).await;
    let mut options = django.options(json!({"groups": groups, "events": 40, "below": BELOW}));
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let summary = Python::send(options).await;
    let oracles = clients.finish(expected_of(&summary)).await;
    (summary, oracles)
}

#[tokio::test]
async fn receives_the_json_serializer() {
    let server = RedisServer::start();
    let config = json!({"serializer_format": "json", "random_prefix_length": 4});
    let channels = "serializer = \"json\"\nrandom_prefix_length = 4";
    let (summary, oracles) = small(Django::core(&server).with(config, channels), json!({})).await;
    assert_complete(&summary, &oracles, 80);
}

#[tokio::test]
async fn receives_under_a_custom_prefix() {
    let server = RedisServer::start();
    let config = json!({"prefix": "miapp", "capacity": 60});
    let django = Django::core(&server).with(config, "prefix = \"miapp\"\ncapacity = 60");
    let (summary, oracles) = small(django, json!({})).await;
    assert_complete(&summary, &oracles, 80);
    assert_eq!(server.ask(&["EXISTS", "asgi:group:sala_0"]), ":0\r\n");
    assert_eq!(server.ask(&["EXISTS", "miapp:group:sala_0"]), ":1\r\n");
}

#[tokio::test]
async fn receives_encrypted_messages_while_the_key_is_rotated() {
    let server = RedisServer::start();
    let channels = "[[channels.key]]\nsecret = \"la clave nueva\"\n\
                    [[channels.key]]\nsecret = \"la clave vieja\"";
    let keys = |keys: &[&str]| json!({"symmetric_encryption_keys": keys});
    let new = keys(&["la clave nueva", "la clave vieja"]);
    let old = keys(&["la clave vieja"]);
    let django = Django::core(&server).with(new, channels);
    let gateways = two(&django).await;
    let groups = names(2);
    let mut clients = clients(&gateways, &groups, 4).await;
    let mut expected = Expected::new();
    // Senders that were restarted with the new key and senders that were not. Both count from
    // sender 0, so the second's are renamed.
    for (run, config) in [old, django.options(json!({}))["config"].clone()].into_iter().enumerate()
    {
        let mut options = django.options(json!({"groups": groups, "events": 20, "below": BELOW}));
        options["config"] = config;
        options["first_sender"] = json!(run * 4);
        let summary = Python::send(options).await;
        assert_eq!(summary["over_capacity"], 0);
        for (group, numbers) in expected_of(&summary) {
            expected.entry(group).or_default().extend(numbers);
        }
        clients.check();
    }
    for oracle in clients.finish(expected).await {
        assert_eq!((oracle.events, oracle.gaps), (80, 0));
    }
}

#[tokio::test]
async fn receives_from_senders_whose_clocks_are_minutes_off() {
    let server = RedisServer::start();
    // A sender deletes entries older than `expiry` by its own clock. If `expiry` is below the
    // difference of the clocks, Django's processes delete each other's entries even without a
    // gateway.
    let django = Django::core(&server).with(json!({"expiry": 300}), "expiry = \"300s\"");
    let (summary, oracles) = small(django, json!({"clocks": [120, -120, 0.25, 0]})).await;
    assert_complete(&summary, &oracles, 80);
}

#[tokio::test]
async fn receives_from_the_pubsub_layer() {
    let server = RedisServer::start();
    let (summary, oracles) = small(Django::pubsub(&server), json!({"below": 0})).await;
    assert_complete(&summary, &oracles, 80);
    assert_eq!(server.ask(&["KEYS", "asgi*"]), "*0\r\n", "the layer writes no key");
}

#[tokio::test]
async fn receives_encrypted_json_from_the_pubsub_layer() {
    let server = RedisServer::start();
    let config =
        json!({"serializer_format": "json", "symmetric_encryption_keys": ["clave"], "prefix": "x"});
    let channels = "serializer = \"json\"\nprefix = \"x\"\n[[channels.key]]\nsecret = \"clave\"";
    let django = Django::pubsub(&server).with(config, channels);
    let (summary, oracles) = small(django, json!({"below": 0})).await;
    assert_complete(&summary, &oracles, 80);
}

#[tokio::test]
async fn receives_beside_djangos_consumers_in_the_same_group() {
    for pubsub in [false, true] {
        let server = RedisServer::start();
        let django = if pubsub { Django::pubsub(&server) } else { Django::core(&server) };
        let gateways = two(&django).await;
        let groups = names(1);
        let clients = clients(&gateways, &groups, 4).await;
        let options = django.options(json!({"groups": groups}));
        let mut consumers = [Python::consumer(&options).await, Python::consumer(&options).await];
        let below = if pubsub { 0 } else { BELOW };
        let sent = json!({"groups": groups, "events": 25, "below": below});
        let summary = Python::send(django.options(sent)).await;
        for consumer in &mut consumers {
            let mut last = [0; 4];
            for _ in 0..100 {
                let message = consumer.line().await;
                let sender = message["s"].as_u64().unwrap() as usize;
                last[sender] += 1;
                assert_eq!(message["n"], last[sender], "{message}");
            }
        }
        assert_complete(&summary, &clients.finish(expected_of(&summary)).await, 100);
    }
}

#[tokio::test]
async fn delivers_to_one_connection_by_its_channel_name() {
    let server = RedisServer::start();
    let django = Django::core(&server);
    let gateways = two(&django).await;
    let mut names = Vec::new();
    let mut sockets = Vec::new();
    for (sub, gateway) in ["ana", "bea"].into_iter().zip(&gateways) {
        let mut socket = gateway.v1_silent("/ws").await;
        socket.hello(&token(sub)).await;
        let connection = socket.welcome().await["connection"].as_str().unwrap().to_owned();
        let serial: u64 = connection.split('-').nth(1).unwrap().parse().unwrap();
        names.push(format!("groupcast.groupcast.c{}!{connection}", serial % 64));
        sockets.push(socket);
    }
    Python::send(django.options(json!({"channels": names, "events": 20, "processes": 1}))).await;
    for socket in &mut sockets {
        for n in 1..=10 {
            let frame = socket.frame().await;
            assert_eq!((&frame["data"]["n"], &frame["group"]), (&json!(n), &Value::Null));
        }
    }
}

#[tokio::test]
async fn two_clusters_on_one_redis_receive_independently() {
    let server = RedisServer::start();
    let django = Django::core(&server);
    let gateways = [
        Gateway::with(&django.cluster("norte")).await,
        Gateway::with(&django.cluster("sur")).await,
    ];
    let mut clients = Vec::new();
    for gateway in &gateways {
        gateway.ready().await;
        let mut ana = gateway.v1("ana").await;
        ana.join("sala_0").await;
        clients.push(ana);
    }
    let sent = json!({"groups": ["sala_0"], "events": 5, "processes": 1});
    Python::send(django.options(sent)).await;
    for (gateway, ana) in gateways.iter().zip(&mut clients) {
        for n in 1..=5 {
            assert_eq!(ana.event().await["n"], n, "every gateway receives Django's events");
        }
        gateway.publish("sala_0", json!({"type": "propia"})).await;
    }
    for ana in &mut clients {
        assert_eq!(ana.event().await, json!({"type": "propia"}));
    }
    // An event of the other cluster would arrive before this one.
    for (gateway, ana) in gateways.iter().zip(&mut clients) {
        gateway.still_serves_group(ana, "sala_0").await;
    }
}
