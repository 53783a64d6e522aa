//! Entries that fail for ever, or end the process: set aside and told.

use super::drainer::{Bench, bench, card, spoil};
use super::instances::{BOX, SALA};
use super::*;

const PEDIDO: &str = "groupcast.groupcast.0!pedido.1";
const POISON: &str = "groupcast:poison";

/// As the tenth attempt comes after ten seconds.
async fn attempts(bench: &mut Bench, count: usize) {
    for _ in 0..count {
        bench.retry_left();
        bench.look().await;
    }
}

#[tokio::test]
async fn an_entry_that_fails_again_and_again_is_set_aside_and_told() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["pedido.1", "sala_1"]).await;
    spoil(&server);
    write(&server, BOX, 1..=3, &[&[PEDIDO]]);
    write(&server, BOX, 4..=4, &[&[SALA]]);
    attempts(&mut bench, 12).await;
    assert_eq!(bench.instance.take(1).await, ["n4"]);
    assert_eq!(card(&server), ":3\r\n", "a minute has not passed");
    assert_eq!(server.ask(&["XLEN", POISON]), ":0\r\n");
    bench.set_patience(Duration::ZERO);
    attempts(&mut bench, 2).await;
    // Its history ends, which is told; what failed only for its sake goes on.
    assert_eq!(bench.instance.take(3).await, [r#"gap in ["pedido.1"]"#, "n2", "n3"]);
    assert_eq!(card(&server), ":0\r\n");
    let kept = server.ask(&["XRANGE", POISON, "-", "+"]);
    for part in ["WRONGTYPE", BOX, "it failed 1", "n1"] {
        assert!(kept.contains(part), "{part:?} in {kept}");
    }
    assert_eq!(server.ask(&["XLEN", POISON]), ":1\r\n");
    assert_eq!(bench.instance.metric("groupcast_source_set_aside_total "), 1);
}

/// Marks the first entry of the mailbox as under way alone, at these instances in turn.
fn under_way_at(server: &RedisServer, instances: &str) {
    let mark = format!(
        "local first = redis.call('ZRANGE', KEYS[1], 0, 0)[1] \
         redis.call('HSET', KEYS[2], KEYS[1], \
         '1 ' .. redis.sha1hex(first) .. ' {instances}')"
    );
    server.ask(&["EVAL", &mark, "2", BOX, "groupcast:underway"]);
}

/// As its heartbeat shows.
fn lives(server: &RedisServer, instance: &str) {
    let second = server.ask(&["TIME"]).lines().nth(2).unwrap().to_owned();
    server.ask(&["ZADD", "groupcast:instances", &second, instance]);
}

#[tokio::test]
async fn an_entry_under_way_at_two_process_ends_is_set_aside_undecoded() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1"]).await;
    write(&server, BOX, 1..=3, &[&[SALA]]);
    under_way_at(&server, "deadbeef,cafecafe");
    bench.look().await;
    // Nobody knows its groups: those of the mailbox are told.
    let told = bench.instance.next().await;
    assert!(told.contains("Share") || told == "gap in all", "{told}");
    attempts(&mut bench, 2).await;
    assert_eq!(bench.instance.take(2).await, ["n2", "n3"]);
    let kept = server.ask(&["XRANGE", POISON, "-", "+"]);
    assert!(kept.contains("under way when 2 processes ended"), "{kept}");
    assert_eq!(server.ask(&["EXISTS", "groupcast:underway"]), ":0\r\n");
}

#[tokio::test]
async fn after_one_process_end_entries_are_handled_one_by_one() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1"]).await;
    write(&server, BOX, 1..=5, &[&[SALA]]);
    server.ask(&["HSET", "groupcast:underway", BOX, "5 00 deadbeef"]);
    bench.look().await;
    assert_eq!(bench.instance.count("sent"), 1);
    bench.look().await;
    assert_eq!(bench.instance.count("sent"), 2);
    attempts(&mut bench, 3).await;
    assert_eq!(bench.instance.take(5).await, ["n1", "n2", "n3", "n4", "n5"]);
    assert_eq!(server.ask(&["XLEN", POISON]), ":0\r\n");
}

/// The first may end the second process before others count the first one as ended.
#[tokio::test]
async fn waits_until_it_is_known_whether_both_processes_have_ended() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1"]).await;
    write(&server, BOX, 1..=2, &[&[SALA]]);
    under_way_at(&server, "deadbeef,cafecafe");
    lives(&server, "cafecafe");
    bench.look().await;
    assert_eq!((card(&server).as_str(), bench.instance.count("sent")), (":2\r\n", 0));
    // It has ended: the entry is set aside, and the next one sent.
    server.ask(&["ZREM", "groupcast:instances", "cafecafe"]);
    attempts(&mut bench, 2).await;
    assert_eq!(server.ask(&["XLEN", POISON]), ":1\r\n");
    assert_eq!(bench.instance.count("sent"), 1);
}

#[tokio::test]
async fn an_entry_that_a_live_instance_is_slow_with_is_sent() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1"]).await;
    write(&server, BOX, 1..=1, &[&[SALA]]);
    under_way_at(&server, "cafecafe");
    lives(&server, "cafecafe");
    bench.look().await;
    assert_eq!(bench.instance.take(1).await, ["n1"]);
    assert_eq!(server.ask(&["XLEN", POISON]), ":0\r\n");
}
