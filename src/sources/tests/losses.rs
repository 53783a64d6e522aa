//! Losses in a source are reported as gaps to the groups concerned, in order with the events.

use std::io::Write as _;

use super::drainer::{OTRA, bench, card, leave_behind};
use super::instances::{BOX, SALA, draining, only_ingress};
use super::*;

const INGRESS: &str = "groupcast:ingress";

/// A message that cannot become an event, for these channels.
fn undecodable(fields: &str, channels: &str) -> String {
    format!("{{{fields},\"__asgi_channel__\":{channels}}}")
}

#[tokio::test]
async fn an_undecodable_entry_is_a_gap_of_its_groups_at_its_place() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1", "pedido.1"]).await;
    let both = format!("[{SALA:?},\"groupcast.groupcast.0!pedido.1\"]");
    let too_deep = format!("\"type\":\"a\",\"x\":{}1{}", "[".repeat(99), "]".repeat(99));
    let too_large = format!("\"type\":\"a\",\"x\":\"{}\"", "x".repeat(70_000));
    let half_an_emoji = r#""type":"a","x":"\ud83d""#;
    for (number, fields) in
        [r#""type":"""#, &too_deep, &too_large, half_an_emoji].iter().enumerate()
    {
        write(&server, BOX, 1..=1, &[&[SALA]]);
        server.ask(&["ZADD", BOX, "2", &undecodable(fields, &both)]);
        write(&server, BOX, 3..=3, &[&[SALA]]);
        bench.look().await;
        let expected = ["n1", r#"gap in ["sala_1"]"#, r#"gap in ["pedido.1"]"#, "n3"];
        // Entries that came before are not delivered twice.
        let expected = if number == 0 { &expected[..] } else { &expected[1..3] };
        assert_eq!(bench.instance.take(expected.len()).await, expected, "{fields:.40}");
    }
    assert_eq!(card(&server), ":0\r\n");
    assert_eq!(bench.instance.metric("groupcast_source_unreadable_total "), 4);
}

#[tokio::test]
async fn an_undecodable_entry_ends_the_epoch_of_a_group_with_history() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["pedido.1"]).await;
    server.ask(&["HSET", "groupcast:numbering:{pedido.1}", "epoch", "1.x", "offset", "7"]);
    let channels = r#""groupcast.groupcast.0!pedido.1""#;
    server.ask(&["ZADD", BOX, "1", &undecodable(r#""type":"""#, channels)]);
    bench.look().await;
    assert_eq!(bench.instance.next().await, r#"gap in ["pedido.1"]"#);
    assert_eq!(server.ask(&["EXISTS", "groupcast:numbering:{pedido.1}"]), ":0\r\n");
}

#[tokio::test]
async fn entries_whose_groups_cannot_be_read_are_a_gap_of_all_groups_of_their_source_now_and_then()
{
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    bench.listen(&["sala_1"]).await;
    server.ask(&["ZADD", BOX, "1", "no message", "2", "{}", "3", ""]);
    write(&server, BOX, 4..=4, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.take(2).await, ["gap in all", "n4"], "its one box is for all");
    let long = "x".repeat(300);
    for (field, value) in [("user", &*long), ("user", ""), ("nadie", "x"), ("group", "a b")] {
        server.ask(&["XADD", INGRESS, "*", field, value, "event", r#"{"type":"a"}"#]);
    }
    server.ask(&["XADD", INGRESS, "*", "event", "no event", "group", "sala_1"]);
    bench.look().await;
    assert_eq!(bench.instance.take(2).await, ["gap in all", r#"gap in ["sala_1"]"#]);
    server.ask(&["ZADD", BOX, "5", "no message either"]);
    write(&server, BOX, 6..=6, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.next().await, "n6", "all were notified a moment ago");
    assert_eq!(card(&server), ":0\r\n");
    assert_eq!(server.ask(&["XLEN", INGRESS]), ":0\r\n");
    assert_eq!(bench.instance.metric("groupcast_source_unreadable_total "), 9);
}

#[tokio::test]
async fn wiped_entries_of_the_stream_are_a_gap_before_newer_events_without_django() {
    let server = RedisServer::start();
    let mut running = draining(&server, &only_ingress()).await;
    running.hold(&groups(&["sala_1"])).await;
    for n in 1..=3 {
        server.ask(&["FLUSHALL"]);
        let event = format!(r#"{{"type":"n{n}"}}"#);
        server.ask(&["XADD", INGRESS, "*", "group", "sala_1", "event", &event]);
        let expected = ["gap in all".to_owned(), format!("n{n}")];
        assert_eq!(running.instance.take(2).await, expected);
    }
}

#[tokio::test]
async fn a_join_elsewhere_does_not_hide_that_the_data_was_lost() {
    let server = RedisServer::start();
    let mut running = draining(&server, &settings(1)).await;
    let other = draining(&server, &settings(1)).await;
    running.hold(&groups(&["sala_1"])).await;
    server.ask(&["FLUSHALL"]);
    other.hold(&groups(&["sala_1"])).await;
    write(&server, BOX, 1..=1, &[&[SALA]]);
    assert_eq!(running.instance.take(2).await, ["gap in all", "n1"]);
}

#[tokio::test]
async fn a_missing_member_is_a_gap_behind_what_senders_wrote_while_it_was_there() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    let registrar = bench.registrar();
    bench.listen(&["sala_1"]).await;
    registrar.register(&groups(&["sala_1"]), ChosenBy::Server).await.unwrap();
    write(&server, BOX, 1..=2, &[&[SALA]]);
    server.ask(&["DEL", "asgi:group:sala_1"]);
    registrar.refresh(true).await.unwrap();
    write(&server, BOX, 4..=4, &[&[SALA]]);
    bench.look().await;
    let expected = ["n1", "n2", r#"gap in ["sala_1"]"#, "n4"];
    assert_eq!(bench.instance.take(4).await, expected);
    assert_eq!(card(&server), ":0\r\n");
}

#[tokio::test]
async fn parked_entries_that_expired_are_a_gap_for_those_who_come_back() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    let registrar = bench.registrar();
    leave_behind(&server);
    write(&server, BOX, 1..=2, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.count("parked"), 2);
    assert_eq!(server.ask(&["PEXPIRE", "groupcast:waiting:{sala_1}", "1"]), ":1\r\n");
    until("they expire", || server.ask(&["EXISTS", "groupcast:waiting:{sala_1}"]) == ":0\r\n")
        .await;
    bench.listen(&["sala_1"]).await;
    registrar.register(&groups(&["sala_1"]), ChosenBy::Server).await.unwrap();
    assert_eq!(bench.instance.next().await, r#"gap in ["sala_1"]"#);
    registrar.refresh(true).await.unwrap();
    write(&server, BOX, 3..=3, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.next().await, "n3", "reported once");
}

#[tokio::test]
async fn a_foreign_subscriber_of_patterns_is_no_listener() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    let address = server.url().rsplit('/').next().unwrap().to_owned();
    let mut monitor = std::net::TcpStream::connect(address).unwrap();
    monitor.write_all(b"PSUBSCRIBE *\r\n").unwrap();
    until("it subscribes", || server.ask(&["PUBSUB", "NUMPAT"]) == ":1\r\n").await;
    leave_behind(&server);
    write(&server, BOX, 1..=2, &[&[SALA, OTRA]]);
    bench.look().await;
    assert_eq!((bench.instance.count("parked"), bench.instance.count("sent")), (2, 0));
    bench.listen(&["sala_1"]).await;
    write(&server, BOX, 3..=3, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.take(3).await, numbers(1..=3));
}

#[tokio::test]
async fn a_subscriber_whose_heartbeats_ended_is_no_listener() {
    let server = RedisServer::start();
    let mut bench = bench(&server).await;
    // As a stopped instance's connection, which stays subscribed.
    let stopped = "aaaaaaaa";
    let mut subscribed = std::net::TcpStream::connect(server.address()).unwrap();
    let channels = format!("groupcast:group:sala_1 groupcast:instance:{stopped}");
    subscribed.write_all(format!("SUBSCRIBE {channels}\r\n").as_bytes()).unwrap();
    let subscribers = || server.ask(&["PUBSUB", "NUMSUB", "groupcast:group:sala_1"]);
    until("it subscribes", || subscribers().ends_with(":1\r\n")).await;
    leave_behind(&server);
    server.ask(&["ZADD", "groupcast:terms", "7", stopped]);
    server.ask(&["ZADD", "groupcast:listeners:{sala_1}", "7", stopped]);
    let beat = "local now = redis.call('TIME')[1]
        return redis.call('ZADD', KEYS[1], now - ARGV[1], ARGV[2])";
    for (n, (age, sent)) in [("0", 1), ("5", 1), ("0", 2)].into_iter().enumerate() {
        server.ask(&["EVAL", beat, "1", "groupcast:instances", age, stopped]);
        write(&server, BOX, n..=n, &[&[SALA]]);
        bench.look().await;
        assert_eq!(bench.instance.count("sent"), sent, "{age} s");
    }
    assert_eq!(bench.instance.count("parked"), 1);
    // Another term: it has not entered the group anew.
    server.ask(&["ZADD", "groupcast:terms", "8", stopped]);
    write(&server, BOX, 4..=4, &[&[SALA]]);
    bench.look().await;
    assert_eq!((bench.instance.count("sent"), bench.instance.count("parked")), (2, 2));
}
