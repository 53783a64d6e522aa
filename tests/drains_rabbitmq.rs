//! What is published to RabbitMQ reaches browsers: once and in order, or it is a dead letter.

use lapin::BasicProperties;
use serde_json::{Value, json};

use crate::support::{
    Amqp, DeadLetter, DeliveryOracle, Gateway, Instance, Numbers, RabbitServer, RedisServer,
    eventually, soon,
};

const QUEUE: &str = "groupcast.groupcast";
const DEAD: &str = "groupcast.groupcast.dead";

fn queue(rabbit: &RabbitServer) -> String {
    format!("[amqp]\nurl = {:?}\n", rabbit.url())
}

fn over(redis: &RedisServer, rabbit: &RabbitServer) -> String {
    format!("[layer]\nkind = \"redis\"\nurl = {:?}\n{}", redis.url(), queue(rabbit))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn carries_messages_to_groups_users_connections_and_everybody() {
    let (redis, rabbit) = (RedisServer::start(), RabbitServer::start());
    let configuration = over(&redis, &rabbit);
    let (one, two) = (Gateway::with(&configuration).await, Gateway::with(&configuration).await);
    for gateway in [&one, &two] {
        gateway.ready().await;
    }
    let mut ana = one.v1_silent("/ws").await;
    ana.hello(&crate::support::token("ana")).await;
    let connection = ana.welcome().await["connection"].as_str().unwrap().to_owned();
    let mut eva = two.v1("eva").await;
    ana.join("sala_1").await;
    eva.join("sala_1").await;
    let amqp = Amqp::connect(&rabbit.url()).await;
    let event = |n: u64| json!({"type": "venta", "n": n});
    let connection = format!("connection:{connection}");
    for (n, key) in ["sala_1", "user:ana", &connection, "all:"].iter().enumerate() {
        amqp.publish(key, &event(n as u64)).await;
    }
    let received = async |socket: &mut crate::support::Socket, numbers: &[u64]| {
        for n in numbers {
            assert_eq!(socket.event().await, event(*n));
        }
    };
    received(&mut ana, &[0, 1, 2, 3]).await;
    received(&mut eva, &[0, 3]).await;
    eventually("all to be acknowledged", async || amqp.depth(QUEUE).await.0 == 0).await;
    let published = one.metric("groupcast_amqp_published_total").await
        + two.metric("groupcast_amqp_published_total").await;
    assert_eq!(published, 4.0);
    for gateway in [&one, &two] {
        assert_eq!(gateway.metric("groupcast_amqp_unacknowledged").await, 0.0);
        assert_eq!(gateway.metric("groupcast_amqp_up").await, 1.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves_one_instance_without_redis() {
    let rabbit = RabbitServer::start();
    let gateway = Gateway::with(&queue(&rabbit)).await;
    gateway.ready().await;
    let mut ana = gateway.v1("ana").await;
    let amqp = Amqp::connect(&rabbit.url()).await;
    for (n, id) in [(1, "a"), (2, "b"), (1, "a"), (3, "c")] {
        amqp.publish_with_id("user:ana", &json!({"type": "venta", "n": n}), id).await;
    }
    for n in 1..=3 {
        assert_eq!(ana.event().await, json!({"type": "venta", "n": n}));
    }
    eventually("all to be acknowledged", async || amqp.depth(QUEUE).await == (0, 1)).await;
    assert_eq!(gateway.metric("groupcast_amqp_repeated_total").await, 1.0);
}

/// A message that cannot be used, and how the reason begins.
fn unusable() -> Vec<(&'static str, Vec<u8>, BasicProperties, &'static str)> {
    let event = || br#"{"type":"venta"}"#.to_vec();
    let none = BasicProperties::default;
    let mut compression = lapin::types::FieldTable::default();
    let zlib = lapin::types::AMQPValue::LongString("application/x-gzip".into());
    compression.insert("compression".into(), zlib);
    let pickle = none()
        .with_content_type("application/x-python-serialize".into())
        .with_content_encoding("binary".into());
    let large = format!(r#"{{"type":"foto","data":"{}"}}"#, "a".repeat(10 << 20)).into_bytes();
    vec![
        ("ventas 7", event(), none(), "target: routing key \"ventas 7\""),
        ("group:ventas", event(), none(), "target: "),
        ("user:", event(), none(), "target: "),
        ("sala_1", b"\x80\x04\x95.".to_vec(), pickle, "content_type: "),
        ("sala_1", b"x\x9c\xabV*".to_vec(), none().with_headers(compression), "compressed: "),
        ("sala_1", vec![0xff, 0xd8, 0xff], none(), "event: "),
        ("sala_1", Vec::new(), none(), "event: "),
        ("sala_1", br#"{"sin":"type"}"#.to_vec(), none(), "event: "),
        ("sala_1", large, none(), "too_large: event has 10485"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_is_a_dead_letter_with_a_reason_and_delays_nothing() {
    let (redis, rabbit) = (RedisServer::start(), RabbitServer::start());
    let gateway = Gateway::with(&over(&redis, &rabbit)).await;
    gateway.ready().await;
    let mut ana = gateway.v1("ana").await;
    ana.join("sala_1").await;
    let amqp = Amqp::connect(&rabbit.url()).await;
    for (n, (key, body, properties, _)) in unusable().into_iter().enumerate() {
        amqp.publish("sala_1", &json!({"type": "venta", "n": n})).await;
        // As a publisher with `user_id` and `CC` may send it: the dead letter goes nowhere else.
        amqp.publish_body(key, &body, properties.with_user_id("guest".into())).await;
    }
    for n in 0..unusable().len() {
        assert_eq!(ana.event().await, json!({"type": "venta", "n": n}));
    }
    for (key, body, _, reason) in unusable() {
        let letter = soon("a dead letter", async {
            loop {
                if let Some(letter) = amqp.dead_letter(DEAD).await {
                    return letter;
                }
            }
        });
        let DeadLetter { key: found, reason: why, body: kept } = letter.await;
        assert_eq!((found.as_str(), kept == body), (key, true), "{why}");
        assert!(why.starts_with(reason), "{why} for {reason}");
    }
    eventually("all to be acknowledged", async || amqp.depth(QUEUE).await == (0, 1)).await;
    let refused = |reason: &str| format!("groupcast_amqp_refused_total{{reason={reason:?}}}");
    assert_eq!(gateway.metric(&refused("target")).await, 3.0);
    assert_eq!(gateway.metric(&refused("event")).await, 3.0);
    assert_eq!(gateway.metric(&refused("too_large")).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_id_of_another_message_is_refused() {
    let (redis, rabbit) = (RedisServer::start(), RabbitServer::start());
    let gateway = Gateway::with(&over(&redis, &rabbit)).await;
    gateway.ready().await;
    let mut ana = gateway.v1("ana").await;
    let amqp = Amqp::connect(&rabbit.url()).await;
    for n in 1..=2 {
        amqp.publish_with_id("user:ana", &json!({"type": "venta", "n": n}), "same").await;
    }
    amqp.publish("user:ana", &json!({"type": "fin"})).await;
    assert_eq!(ana.event().await, json!({"type": "venta", "n": 1}));
    assert_eq!(ana.event().await, json!({"type": "fin"}));
    eventually("the dead letter", async || amqp.depth(DEAD).await.0 == 1).await;
    let letter = amqp.dead_letter(DEAD).await.unwrap();
    assert!(letter.reason.starts_with("id_reused: "), "{}", letter.reason);
}

/// Reads events of `group` until the last number of each sender has arrived.
async fn all_arrive(socket: &mut crate::support::Socket, group: &str, last: &[(u64, u64)]) {
    let expected: Numbers = last.iter().copied().collect();
    let mut oracle = DeliveryOracle::default();
    oracle.observe(&json!({"type": "joined", "groups": [{"group": group}]})).unwrap();
    while !oracle.has_all(group, &expected) {
        let frame: Value = socket.frame().await;
        oracle.observe(&frame).unwrap();
    }
    assert_eq!((oracle.missed(group), oracle.gaps), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_killed_between_publishing_and_acknowledging_repeats_nothing_that_has_an_id() {
    let (redis, rabbit) = (RedisServer::start(), RabbitServer::start());
    let configuration = over(&redis, &rabbit);
    let mut first = Instance::start(&configuration).await;
    first.ready().await;
    first.kill();
    // It publishes a batch, and ends before it can say so to RabbitMQ.
    first.start_to_fail("after-once:abort:3").await;
    first.ready().await;
    let second = Gateway::with(&configuration).await;
    second.ready().await;
    let mut ana = second.v1("ana").await;
    ana.join("sala_1").await;
    let amqp = Amqp::connect(&rabbit.url()).await;
    let other = Amqp::connect(&rabbit.url()).await;
    tokio::join!(
        amqp.publish_numbers("sala_1", 1, 1..=1500, true),
        other.publish_numbers("sala_1", 2, 1..=1500, true),
    );
    all_arrive(&mut ana, "sala_1", &[(1, 1500), (2, 1500)]).await;
    eventually("the first to have ended", async || first.has_ended()).await;
    assert!(second.metric("groupcast_amqp_redelivered_total").await > 0.0);
    assert!(second.metric("groupcast_amqp_repeated_total").await > 0.0);
    assert_eq!(amqp.depth(DEAD).await.0, 0);
}
