//! Draining, one read at a time.

use std::time::Instant;

use super::super::state::DrainState;
use super::*;
use crate::channels::Codec;
use crate::channels::codec::MessageChannels;
use crate::event::{Position, Recovery};

/// The mailbox of all groups.
pub(super) const BOX: &str = "asgigroupcast.groupcast.0!";
pub(super) const SALA: &str = "groupcast.groupcast.0!sala_1";
pub(super) const OTRA: &str = "groupcast.groupcast.0!sala_2";
const PEDIDO: &str = "groupcast.groupcast.0!pedido.1";
const NUMBERING: &str = "groupcast:numbering:{pedido.1}";

/// A drainer that reads its sources only when a test calls `look`.
pub(super) struct Bench {
    pub(super) instance: TestInstance,
    pub(super) drainer: Drainer,
    state: DrainState,
    django: DjangoLayer,
}

pub(super) async fn bench_with(server: &RedisServer, settings: SourceSettings) -> Bench {
    let instance = test_instance(server, &settings).await;
    let (django, connection) = instance.parts(&settings);
    instance.may_enter(&connection).await;
    let metrics = &Arc::new(SourceMetrics::new(&instance.metrics));
    let mut drainers = super::super::drainers(&settings, connection, &django, 64 * 1024, metrics);
    let drainer = drainers.pop().unwrap();
    if let Some(remote) = &drainer.remote {
        until("the other server answers", || remote.redis.current().is_some()).await;
    }
    let mut state = drainer.begin();
    state.schedule.share(vec![drainer.redis.instance()]);
    let all = state.schedule.due(Instant::now(), true);
    assert_eq!(all.len(), drainer.sources.len());
    Bench { instance, drainer, state, django }
}

/// With one mailbox for groups.
pub(super) async fn bench(server: &RedisServer) -> Bench {
    bench_with(server, settings(1)).await
}

impl Bench {
    /// Reads and drains all sources once.
    pub(super) async fn look(&mut self) {
        let all: Vec<usize> = (0..self.drainer.sources.len()).collect();
        self.drainer.look(&all, &mut self.state).await;
    }

    pub(super) fn registrar(&self) -> GroupRegistrar {
        self.django.registrar.clone()
    }

    /// So many publications may wait for a listener of their group.
    pub(super) fn set_parking(&mut self, most: u32) {
        self.drainer.bounds.parking.most = most;
    }

    /// Entries may fail for so long.
    pub(super) fn set_patience(&mut self, patience: std::time::Duration) {
        self.drainer.bounds.patience = patience;
    }

    /// The first step of the full read each second.
    pub(super) fn retry_left(&mut self) {
        self.state.retry_left();
    }

    /// What a client that rejoins the group with `since` recovers.
    async fn stands(&self, name: &str, since: Option<Position>) -> Recovery {
        let asked = [(group(name), since)];
        self.instance.layer.recover(&asked).await.unwrap().remove(0).unwrap()
    }

    pub(super) async fn listen(&self, names: &[&str]) {
        self.instance.layer.subscribe(&groups(names)).await.unwrap();
        self.django.registrar.register(&groups(names), ChosenBy::Server).await.unwrap();
    }
}

/// Leaves `sala_1` as an instance does that held it and was killed.
pub(super) fn leave_behind(server: &RedisServer) {
    server.ask(&["SET", "groupcast:held:{sala_1}", ""]);
    server.ask(&["ZADD", "asgi:group:sala_1", "1", SALA]);
}

pub(super) fn card(server: &RedisServer) -> String {
    server.ask(&["ZCARD", BOX])
}

/// The history of `pedido.1` cannot be written to: its key is of the wrong type.
pub(super) fn spoil(server: &RedisServer) {
    server.ask(&["SET", NUMBERING, "a text"]);
}

fn mend(server: &RedisServer) {
    server.ask(&["DEL", NUMBERING]);
}

#[tokio::test]
async fn publishes_and_removes_in_order() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1"]).await;
    write(&server, BOX, 1..=200, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.take(200).await, numbers(1..=200));
    assert_eq!((card(&server).as_str(), bench.instance.count("sent")), (":0\r\n", 200));
}

#[tokio::test]
async fn removes_an_entry_without_listener_and_the_member_with_it() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    server.ask(&["ZADD", "asgi:group:sala_1", "1", SALA]);
    server.ask(&["ZADD", "asgi:group:sala_1", "1", "specific.1!2"]);
    write(&server, BOX, 1..=1, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.count("no_listener"), 1);
    assert_eq!(server.ask(&["ZSCORE", "asgi:group:sala_1", SALA]), "$-1\r\n");
    assert_eq!(server.ask(&["ZCARD", "asgi:group:sala_1"]), ":1\r\n", "consumers stay");
}

#[tokio::test]
async fn parks_entries_of_a_held_group_until_an_instance_listens() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    leave_behind(&server);
    write(&server, BOX, 1..=3, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.count("parked"), 3);
    bench.listen(&["sala_1"]).await;
    write(&server, BOX, 4..=5, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.take(5).await, numbers(1..=5));
    assert_eq!(server.ask(&["EXISTS", "groupcast:waiting:{sala_1}"]), ":0\r\n");
}

#[tokio::test]
async fn leaves_entries_beyond_the_parking_limit_in_the_mailbox_in_order() {
    let server = RedisServer::start();
    let mut small = settings(1);
    small.channels.capacity = 1000;
    let mut bench = bench_with(&server, small).await;
    leave_behind(&server);
    write(&server, BOX, 1..=900, &[&[SALA]]);
    for _ in 0..4 {
        bench.look().await;
    }
    write(&server, BOX, 901..=1200, &[&[SALA]]);
    for _ in 0..4 {
        bench.look().await;
    }
    assert_eq!(bench.instance.count("parked"), 1000);
    assert_eq!(card(&server), ":200\r\n");
    bench.listen(&["sala_1"]).await;
    bench.retry_left();
    bench.look().await;
    assert_eq!(bench.instance.take(1200).await, numbers(1..=1200));
}

#[tokio::test]
async fn a_group_whose_history_fails_keeps_its_order_and_blocks_no_other() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1", "pedido.1"]).await;
    spoil(&server);
    write(&server, BOX, 1..=300, &[&[SALA], &[PEDIDO]]);
    for _ in 0..3 {
        bench.look().await;
    }
    assert_eq!(bench.instance.take(300).await, numbers(1..=300), "of the other group");
    assert_eq!(card(&server), ":300\r\n");
    mend(&server);
    bench.retry_left();
    for _ in 0..2 {
        bench.look().await;
    }
    assert_eq!(bench.instance.take(300).await, numbers(1..=300));
}

#[tokio::test]
async fn never_overtakes_entries_left_by_an_earlier_batch() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["pedido.1"]).await;
    spoil(&server);
    write(&server, BOX, 1..=400, &[&[PEDIDO]]);
    bench.look().await;
    assert_eq!(bench.instance.count("left_in_source"), 256);
    mend(&server);
    bench.look().await;
    bench.retry_left();
    for _ in 0..2 {
        bench.look().await;
    }
    assert_eq!(bench.instance.take(400).await, numbers(1..=400));
}

#[tokio::test]
async fn finds_every_entry_when_another_drainer_removes_the_head() {
    let server = RedisServer::start();
    let (mut first, mut second) = (bench(&server).await, bench(&server).await);
    first.listen(&["pedido.1", "sala_1"]).await;
    spoil(&server);
    write(&server, BOX, 1..=256, &[&[PEDIDO]]);
    first.look().await;
    assert_eq!(first.instance.count("left_in_source"), 256);
    write(&server, BOX, 257..=700, &[&[SALA]]);
    mend(&server);
    second.look().await;
    assert_eq!(second.instance.count("sent"), 256);
    for _ in 0..2 {
        first.look().await;
    }
    // The former are one group's, the rest another's; between groups there is no order.
    let (pedido, rest) = (numbers(1..=256), numbers(257..=700));
    let taken = first.instance.take(700).await;
    let taken: (Vec<_>, Vec<_>) = taken.into_iter().partition(|it| pedido.contains(it));
    assert_eq!(taken, (pedido, rest));
}

#[tokio::test]
async fn reports_the_failed_groups_of_an_entry_without_repeating_the_others() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1", "pedido.1"]).await;
    spoil(&server);
    write(&server, BOX, 1..=1, &[&[SALA, PEDIDO]]);
    bench.look().await;
    bench.retry_left();
    bench.look().await;
    let possible_loss = "gap in all";
    assert_eq!(bench.instance.take(2).await, ["n1", possible_loss]);
    assert_eq!(card(&server), ":0\r\n");
}

#[tokio::test]
async fn leaves_an_entry_for_several_groups_while_one_of_them_is_blocked() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1", "sala_2", "pedido.1"]).await;
    spoil(&server);
    write(&server, BOX, 1..=1, &[&[PEDIDO]]);
    write(&server, BOX, 2..=2, &[&[SALA, PEDIDO]]);
    write(&server, BOX, 3..=3, &[&[SALA]]);
    write(&server, BOX, 4..=4, &[&[OTRA]]);
    bench.look().await;
    assert_eq!(bench.instance.take(1).await, ["n4"], "the only one that follows nothing kept");
    mend(&server);
    bench.retry_left();
    bench.look().await;
    // Each group has its own order: the one that is numbered anew is looked up first.
    let taken = bench.instance.take(4).await;
    let place = |name: &str| taken.iter().position(|taken| taken == name).unwrap();
    let last = taken.iter().rposition(|taken| taken == "n2").unwrap();
    assert!(place("n1") < last && place("n2") < place("n3"), "{taken:?}");
}

#[tokio::test]
async fn reads_first_the_sources_that_the_last_pass_did_not_reach() {
    let server = RedisServer::start();
    let mut bench = bench_with(&server, settings(8)).await;
    // Eight mailboxes of 300 KiB each: more than fits in one read.
    for number in 0..8 {
        let key = format!("asgigroupcast.groupcast.{number}!");
        let long = format!("groupcast.groupcast.{number}!{}", "x".repeat(6000));
        write(&server, &key, 1..=50, &[&[&long]]);
    }
    bench.look().await;
    let due = bench.state.schedule.due(Instant::now(), true);
    let left: Vec<usize> = (0..8)
        .filter(|number| {
            server.ask(&["EXISTS", &format!("asgigroupcast.groupcast.{number}!")]) == ":1\r\n"
        })
        .map(|number| number * 2)
        .collect();
    assert!(left.len() >= 4, "one look takes 1 MiB: {left:?}");
    assert!(left.iter().all(|index| due.contains(index)), "{left:?} are left, {due:?} are due");
    assert!(due[0] > 6, "those that were not reached come first: {due:?}");
}

#[tokio::test]
async fn waits_before_asking_an_unreachable_redis_again() {
    let mut server = RedisServer::start();
    let mut bench = bench(&server).await;
    // The next full read is far off, however long the test takes.
    bench.state.schedule.due(Instant::now() + LONG, true);
    server.kill();
    let before = Instant::now();
    bench.look().await;
    let next = bench.state.schedule.next();
    assert!(next >= before + Duration::from_millis(50) && next < Instant::now() + LONG);
}

#[tokio::test]
async fn announces_a_full_mailbox_after_its_entries() {
    let server = RedisServer::start();
    let mut small = settings(1);
    small.channels.capacity = 3;
    let mut bench = bench_with(&server, small).await;
    bench.listen(&["sala_1"]).await;
    write(&server, BOX, 1..=2, &[&[SALA]]);
    bench.look().await;
    write(&server, BOX, 3..=5, &[&[SALA]]);
    bench.look().await;
    let possible_loss = "gap in all";
    assert_eq!(bench.instance.take(6).await, ["n1", "n2", "n3", "n4", "n5", possible_loss]);
    assert_eq!(bench.instance.metric("groupcast_source_full_total "), 1);
}

#[tokio::test]
async fn ends_histories_of_a_full_mailbox_for_clients_that_were_away() {
    let server = RedisServer::start();
    let mut small = settings(1);
    small.channels.capacity = 3;
    let mut bench = bench_with(&server, small).await;
    bench.listen(&["pedido.1"]).await;
    write(&server, BOX, 1..=2, &[&[PEDIDO]]);
    bench.look().await;
    let here = bench.stands("pedido.1", None).await.position.unwrap();
    assert_eq!(here.offset, 2);
    let since = Position { offset: 1, ..here.clone() };
    assert_eq!(bench.stands("pedido.1", Some(since)).await.recovered, Some(true));
    write(&server, BOX, 3..=5, &[&[PEDIDO]]);
    bench.look().await;
    let back = bench.stands("pedido.1", Some(here.clone())).await;
    assert_eq!(back.recovered, Some(false));
    let anew = back.position.unwrap();
    assert_ne!(anew.epoch, here.epoch);
    write(&server, BOX, 6..=6, &[&[PEDIDO]]);
    bench.look().await;
    let next = bench.stands("pedido.1", Some(anew.clone())).await;
    assert_eq!(
        (next.recovered, next.replay.len()),
        (Some(true), 1),
        "and from here on it is whole"
    );
}

#[tokio::test]
async fn never_repeats_entries_restored_by_an_old_snapshot() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1"]).await;
    write(&server, BOX, 1..=10, &[&[SALA]]);
    bench.look().await;
    write(&server, BOX, 1..=11, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.take(11).await, numbers(1..=11));
    assert_eq!(bench.instance.metric("groupcast_source_duplicates_total "), 10);
}

#[tokio::test]
async fn delivers_both_entries_of_a_stream_with_the_same_id() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1"]).await;
    for n in 1..=2 {
        let event = format!(r#"{{"type":"n{n}"}}"#);
        server.ask(&["XADD", "groupcast:ingress", "7-1", "group", "sala_1", "event", &event]);
        bench.look().await;
        // As on a replica that took over before it had received the first.
        server.ask(&["DEL", "groupcast:ingress"]);
    }
    assert_eq!(bench.instance.take(2).await, ["n1", "n2"]);
}

#[tokio::test]
async fn counts_the_expiry_from_the_time_an_entry_was_written() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1"]).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    for (age, expiry) in [(10_000, "5000"), (10_000, "60000")] {
        let id = format!("{}-{expiry}", now.as_millis() as u64 - age);
        let event = r#"{"type":"aviso"}"#;
        let target = ["group", "sala_1"];
        server.ask(
            &[
                &["XADD", "groupcast:ingress", &id][..],
                &target,
                &["expiry_ms", expiry],
                &["event", event],
            ]
            .concat(),
        );
    }
    bench.look().await;
    let mut left = Vec::new();
    for _ in 0..2 {
        let Some(Incoming::Publication(publication)) = bench.instance.inbox.recv().await else {
            panic!("two publications were written");
        };
        let deadline = publication.deadline.unwrap();
        left.push(deadline.saturating_duration_since(Instant::now()).as_secs());
    }
    assert_eq!(left[0], 0, "it was worthless before it was read");
    assert!((45..=50).contains(&left[1]), "{left:?}");
}

#[tokio::test]
async fn delivers_binary_messages_unchanged() {
    let server = RedisServer::start();
    let mut binary = settings(1);
    binary.channels.codec = CodecSettings::default();
    let codec = Codec::new(&binary.channels.codec);
    let mut bench = bench_with(&server, binary).await;
    bench.listen(&["sala_1"]).await;
    for n in 0..20_u8 {
        let event = crate::event::Event::parse(format!(r#"{{"type":"n{n}"}}"#).into()).unwrap();
        // Prefixes that are text, that are none, and that end lines and protocols.
        let prefix = [n * 13, 0, 255, b'\r', b'\n', n, 128, b'$', 10, 200, n, 1];
        let names = [SALA.to_owned()];
        let entry = codec.write(&event, MessageChannels::Many(&names), &prefix, [0; 16], 0);
        let literal: String = entry.iter().map(|byte| format!("\\{byte:03}")).collect();
        let script = format!("return redis.call('ZADD', KEYS[1], {n}.123456, '{literal}')");
        assert_eq!(server.ask(&["EVAL", &script, "1", BOX]), ":1\r\n");
    }
    bench.look().await;
    assert_eq!(bench.instance.take(20).await, numbers(0..=19));
    assert_eq!(card(&server), ":0\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_one_batch_of_a_hundred_thousand_entries() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1"]).await;
    for first in (1..=100_000).step_by(5000) {
        write(&server, BOX, first..=first + 4999, &[&[SALA]]);
    }
    bench.look().await;
    assert_eq!(bench.instance.take(256).await, numbers(1..=256));
    assert_eq!(card(&server), ":99744\r\n");
}
