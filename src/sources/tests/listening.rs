//! Who counts as a listener, and what waits behind publications that are parked for a group.

use bytes::Bytes;

use super::drainer::{Bench, bench, bench_with, leave_behind};
use super::instances::{BOX, SALA};
use super::*;
use crate::event::{Event, Except, Publication};
use crate::layer::{Digest, KeyedPublication, LayerError, OnceKey, OnceOutcome, WhenFull};

const WAITING: &str = "groupcast:waiting:{sala_1}";

pub(super) fn publication(name: &str, kind: &str) -> Publication {
    Publication {
        id: PublicationId::random(),
        target: Target::Group(group(name)),
        event: Event::parse(Bytes::from(format!(r#"{{"type":"{kind}"}}"#))).unwrap(),
        except: Except::default(),
        accepted: std::time::Instant::now(),
        deadline: None,
        position: None,
    }
}

fn keyed(name: &str, kind: &str) -> KeyedPublication {
    let digest = Digest::of(&[kind.as_bytes()]);
    let scope: Arc<str> = "api:tienda".into();
    let when_full = WhenFull::Refuse;
    let key = OnceKey { scope, capacity: 100, when_full, key: digest, content: digest };
    KeyedPublication { publication: publication(name, kind), key: Some(key) }
}

impl Bench {
    /// As [`Layer::publish_once`], of one under a key called as the event.
    async fn once(&self, name: &str, kind: &str) -> Result<OnceOutcome, LayerError> {
        let mut outcomes = Vec::new();
        let (keyed, window) = (vec![keyed(name, kind)], Duration::from_secs(60));
        self.instance.layer.publish_once(keyed, window, |outcome| outcomes.push(outcome)).await?;
        Ok(outcomes.remove(0))
    }
}

/// With `n1` parked for `sala_1`.
async fn with_one_parked(server: &RedisServer, settings: Option<SourceSettings>) -> Bench {
    let mut bench = match settings {
        Some(settings) => bench_with(server, settings).await,
        None => bench(server).await,
    };
    leave_behind(server);
    write(server, BOX, 1..=1, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.count("parked"), 1);
    bench
}

#[tokio::test]
async fn whatever_is_published_waits_behind_what_is_parked() {
    let server = RedisServer::start();
    let mut bench = with_one_parked(&server, None).await;
    let layer = bench.instance.layer.clone();
    layer.publish(publication("sala_1", "n2")).await.unwrap();
    let first = bench.once("sala_1", "n3").await.unwrap();
    let many = [("sala_2", "x"), ("sala_1", "n4"), ("pedido.1", "y"), ("sala_1", "n5")];
    let many = many.map(|(name, kind)| publication(name, kind)).to_vec();
    let mut positions = Vec::new();
    layer.publish_many(many, |position| positions.push(position.is_some())).await.unwrap();
    assert_eq!(positions, [false, false, true, false], "each is answered, in order");
    let again = bench.once("sala_1", "n3").await.unwrap();
    let OnceOutcome::Sent { id, .. } = first else { panic!("{first:?}") };
    assert_eq!(again, OnceOutcome::Earlier { id, position: None }, "parked is sent");
    assert_eq!(server.ask(&["LLEN", WAITING]), ":5\r\n");
    bench.listen(&["sala_1"]).await;
    layer.publish(publication("sala_1", "n6")).await.unwrap();
    assert_eq!(bench.instance.take(6).await, numbers(1..=6));
    assert_eq!(server.ask(&["EXISTS", WAITING, "groupcast:parking"]), ":0\r\n");
}

#[tokio::test]
async fn refuses_what_exceeds_the_parking_limit_and_takes_it_once_there_is_a_listener() {
    let server = RedisServer::start();
    let mut small = settings(1);
    small.channels.capacity = 1000;
    let mut bench = with_one_parked(&server, Some(small)).await;
    let layer = bench.instance.layer.clone();
    let many = (2..=1000).map(|n| publication("sala_1", &format!("n{n}"))).collect();
    layer.publish_many(many, |_| ()).await.unwrap();
    let is_full = |error| matches!(error, LayerError::Refused(why) if why.starts_with("FULL "));
    assert!(is_full(layer.publish(publication("sala_1", "n1001")).await.unwrap_err()));
    assert!(is_full(bench.once("sala_1", "n1001").await.unwrap_err()));
    layer.publish(publication("sala_2", "x")).await.unwrap();
    bench.listen(&["sala_1"]).await;
    let sent = bench.once("sala_1", "n1001").await.unwrap();
    assert!(matches!(sent, OnceOutcome::Sent { .. }), "a refusal leaves no mark: {sent:?}");
    assert_eq!(bench.instance.take(1001).await, numbers(1..=1001));
}

/// Otherwise the subscription of a stopped instance would count while another one starts.
#[tokio::test]
async fn an_instance_has_entered_no_group_before_it_registers_any() {
    let server = RedisServer::start();
    let instance = test_instance(&server, &settings(1)).await;
    let (_, connection) = instance.parts(&settings(1));
    let id = connection.redis.instance().to_string();
    assert_ne!(server.ask(&["ZSCORE", "groupcast:terms", &id]), "$-1\r\n");
}

/// Nothing may be sent to the stopped instance alone, as long as the other one is subscribed.
#[tokio::test]
async fn a_group_that_is_about_to_be_left_has_no_listener() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1"]).await;
    bench.registrar().stop_listening(&groups(&["sala_1"])).await;
    bench.registrar().refresh(true).await.unwrap();
    write(&server, BOX, 1..=1, &[&[SALA]]);
    bench.look().await;
    assert_eq!((bench.instance.count("sent"), bench.instance.count("parked")), (0, 1));
    bench.listen(&["sala_1"]).await;
    assert_eq!(bench.instance.take(1).await, numbers(1..=1));
}

/// An unsubscribed group must not look as if its last instance listened.
#[tokio::test]
async fn a_group_that_was_left_has_no_listener_though_a_stopped_instance_is_subscribed() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    let mut stopped = std::net::TcpStream::connect(server.address()).unwrap();
    std::io::Write::write_all(&mut stopped, b"SUBSCRIBE groupcast:group:sala_1\r\n").unwrap();
    bench.listen(&["sala_1"]).await;
    write(&server, BOX, 1..=1, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.take(1).await, numbers(1..=1));
    bench.instance.layer.unsubscribe(&groups(&["sala_1"])).await.unwrap();
    bench.registrar().unregister(&groups(&["sala_1"])).await;
    write(&server, BOX, 2..=2, &[&[SALA]]);
    bench.look().await;
    assert_eq!((bench.instance.count("sent"), bench.instance.count("parked")), (1, 1));
}
