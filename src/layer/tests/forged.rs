//! Positions that another program makes up on a group's channel.

use super::*;
use crate::layer::Loss;

const CHANNEL: &str = "groupcast:group:pedido.42";

/// An instance with a member of `pedido.42`, where `n1` has arrived. Returns its position, too.
async fn with_member(server: &RedisServer) -> (Instance, Position) {
    let mut instance = over(server, |_| {}).await;
    instance.subscribe(&["pedido.42"]).await;
    let asked = [(group("pedido.42"), None)];
    instance.layer.recover(&asked).await.unwrap().remove(0).unwrap();
    instance.send("pedido.42", "n1").await;
    let position = instance.next_publication().await.position.clone().unwrap();
    (instance, position)
}

/// Publishes an event called `forged` that claims a position.
fn forge(server: &RedisServer, epoch: &str, offset: u64, id: u8) {
    let mut message = format!("\x02{epoch} {offset}\n").into_bytes();
    message.extend(b"\x01\x00aaaaaaaa");
    message.extend([id; 16]);
    message.extend(b"\x00\x00{\"type\":\"forged\"}");
    server.ask(&[&b"PUBLISH"[..], CHANNEL.as_bytes(), &message]);
}

impl Instance {
    /// The next event that is not forged, with its offset.
    async fn next_genuine(&mut self) -> (String, Option<u64>) {
        loop {
            match self.next().await {
                Incoming::Publication(it) if it.event.kind() != "forged" => {
                    return (text_of(&it), it.position.as_ref().map(|at| at.offset));
                }
                Incoming::Publication(_) | Incoming::Loss(Loss::Groups(_)) => {}
                other => panic!("not sent in this test: {other:?}"),
            }
        }
    }

    async fn gets_the_next(&mut self, range: std::ops::RangeInclusive<u64>) {
        for n in range {
            self.send("pedido.42", &format!("n{n}")).await;
            assert_eq!(self.next_genuine().await, (event_text(&format!("n{n}")), Some(n)));
        }
    }
}

#[tokio::test]
async fn a_forged_offset_mutes_no_group() {
    let server = RedisServer::start();
    let (mut instance, at) = with_member(&server).await;
    let generation: u64 = at.epoch.split_once('.').unwrap().0.parse().unwrap();
    for (epoch, offset) in [
        (at.epoch.to_string(), 1_000_000),
        (at.epoch.to_string(), u64::MAX),
        (format!("{generation}.other"), 1),
        (format!("{generation}.other"), 1_000_000),
        (format!("{}.other", generation + 1_000_000), 1),
        (format!("{generation}.0.1"), 0),
    ] {
        forge(&server, &epoch, offset, 7);
    }
    for _ in 0..6 {
        forge(&server, &at.epoch, 1_000_000, 8);
    }
    instance.gets_the_next(2..=5).await;
}

/// Each of them continues what is known, until the genuine ones show that they are not.
#[tokio::test]
async fn forged_offsets_in_sequence_hide_no_event() {
    let server = RedisServer::start();
    let (mut instance, at) = with_member(&server).await;
    for offset in 2..=20 {
        forge(&server, &at.epoch, offset, offset as u8);
    }
    for n in 2..=30_u64 {
        instance.send("pedido.42", &format!("n{n}")).await;
        let (event, offset) = instance.next_genuine().await;
        assert_eq!(event, event_text(&format!("n{n}")));
        // Members believe to have passed the others.
        assert_eq!(offset, (n > 20).then_some(n));
    }
}

#[tokio::test]
async fn asks_once_a_second_about_one_group() {
    let server = RedisServer::start();
    let (mut instance, at) = with_member(&server).await;
    let began = Instant::now();
    server.ask(&["CONFIG", "RESETSTAT"]);
    for n in 0..1000 {
        forge(&server, &at.epoch, 1_000_000 + n, 7);
    }
    instance.gets_the_next(2..=2).await;
    let stats = server.ask(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let scripts: u64 = line.unwrap().split(',').next().unwrap().parse().unwrap();
    // One of each second for the heartbeat, and one for the event.
    let most = 3 * (began.elapsed().as_secs() + 2);
    assert!(scripts <= most, "{scripts} scripts in {:?}", began.elapsed());
}

#[tokio::test]
async fn a_genuine_message_discarded_in_that_second_is_a_loss_that_histories_may_have() {
    let server = RedisServer::start();
    let (mut instance, at) = with_member(&server).await;
    forge(&server, &at.epoch, 1_000_000, 7);
    server.ask(&["DEL", "groupcast:numbering:{pedido.42}", "groupcast:log:{pedido.42}"]);
    instance.send("pedido.42", "n2").await;
    match instance.next().await {
        Incoming::Loss(Loss::Groups(groups)) => assert_eq!(groups, [group("pedido.42")]),
        // On a slow machine the second was over.
        Incoming::Publication(it) => assert_eq!(text_of(&it), event_text("n2")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn offsets_after_a_lost_subscription_are_genuine() {
    let server = RedisServer::start();
    let (mut instance, _) = with_member(&server).await;
    let other = over(&server, |_| {}).await;
    for n in 0..3 {
        server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        for _ in 0..10 {
            other.send("pedido.42", "lost").await;
        }
        instance.delivering().await;
        until("the layer delivers", || instance.layer.health().delivering).await;
        let last = format!("last{n}");
        let deadline = Instant::now() + LONG;
        loop {
            assert!(Instant::now() < deadline, "{last}");
            other.send("pedido.42", &last).await;
            let arrived = timeout(Duration::from_millis(100), instance.inbox.recv()).await;
            if let Ok(Some(Incoming::Publication(it))) = arrived
                && text_of(&it) == event_text(&last)
            {
                assert!(it.position.is_some());
                break;
            }
        }
        while instance.inbox.try_recv().is_ok() {}
    }
}

/// Whoever notices it first publishes before the other has asked Redis.
#[tokio::test]
async fn what_is_published_in_a_new_generation_reaches_an_instance_that_has_not_heard_of_it() {
    for n in 0..4 {
        let server = RedisServer::start();
        let (mut instance, _) = with_member(&server).await;
        let other = over(&server, |_| {}).await;
        server.ask(&["FLUSHALL"]);
        let event = format!("after{n}");
        let deadline = Instant::now() + LONG;
        let target = || Target::Group(group("pedido.42"));
        while other.layer.publish(to(target(), &event)).await.is_err() {
            assert!(Instant::now() < deadline, "it hears of it");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        loop {
            match instance.next().await {
                Incoming::Publication(it) => {
                    assert_eq!(text_of(&it), event_text(&event));
                    assert_eq!(it.position.as_ref().map(|at| at.offset), Some(1));
                    break;
                }
                Incoming::Loss(_) => {}
                other => panic!("not sent in this test: {other:?}"),
            }
        }
    }
}
