//! Draining several sources with one script.

use super::drainer::{Bench, bench_with};
use super::*;

const MAILBOXES: u16 = 8;

fn mailbox(number: u16) -> String {
    format!("asgigroupcast.groupcast.{number}!")
}

/// Mailboxes with an entry each, for a group that is listened to.
async fn filled(server: &RedisServer, entries: usize) -> Bench {
    let bench = bench_with(server, settings(MAILBOXES)).await;
    bench.listen(&["sala_1"]).await;
    for number in 0..MAILBOXES {
        let name = format!("groupcast.groupcast.{number}!sala_1");
        write(server, &mailbox(number), 1..=entries, &[&[&name]]);
    }
    bench
}

/// Scripts that Redis has run by their digest.
fn scripts(server: &RedisServer) -> u64 {
    let statistics = server.ask(&["INFO", "commandstats"]);
    let line = statistics.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn one_script_drains_all_mailboxes_with_a_few_entries() {
    let server = RedisServer::start();
    let mut bench = filled(&server, 2).await;
    // The heartbeat may run one meanwhile.
    let before = scripts(&server);
    bench.look().await;
    let ran = scripts(&server) - before;
    assert_eq!(bench.instance.take(16).await.len(), 16);
    assert_eq!(bench.instance.count("sent"), 16);
    assert!(ran < u64::from(MAILBOXES), "{ran} scripts");
}

#[tokio::test]
async fn a_script_takes_no_more_entries_of_several_mailboxes_than_of_one() {
    let server = RedisServer::start();
    let mut bench = filled(&server, 200).await;
    let before = scripts(&server);
    bench.look().await;
    let ran = scripts(&server) - before;
    assert_eq!(bench.instance.take(1600).await.len(), 1600);
    // A look, and 200 entries of each mailbox, of which two do not share a script.
    assert!(ran > u64::from(MAILBOXES), "{ran} scripts");
}

#[tokio::test]
async fn a_mailbox_of_the_wrong_type_stops_no_other_in_its_script() {
    let server = RedisServer::start();
    let mut bench = filled(&server, 1).await;
    server.ask(&["DEL", &mailbox(3)]);
    server.ask(&["SET", &mailbox(3), "a text"]);
    bench.look().await;
    assert_eq!(bench.instance.take(7).await, vec!["n1"; 7]);
    for number in (0..MAILBOXES).filter(|number| *number != 3) {
        assert_eq!(server.ask(&["EXISTS", &mailbox(number)]), ":0\r\n");
    }
    server.ask(&["DEL", &mailbox(3)]);
    write(&server, &mailbox(3), 9..=9, &[&["groupcast.groupcast.3!sala_1"]]);
    bench.look().await;
    assert_eq!(bench.instance.take(1).await, ["n9"]);
}

#[tokio::test]
async fn an_entry_that_cannot_be_published_stops_no_other_mailbox_in_its_script() {
    let server = RedisServer::start();
    let mut bench = filled(&server, 1).await;
    super::drainer::spoil(&server);
    write(&server, &mailbox(2), 2..=2, &[&["groupcast.groupcast.2!pedido.1"]]);
    bench.look().await;
    assert_eq!(bench.instance.take(8).await, vec!["n1"; 8]);
    assert_eq!(bench.instance.count("left_in_source"), 1);
    assert_eq!(server.ask(&["ZCARD", &mailbox(2)]), ":1\r\n");
}
