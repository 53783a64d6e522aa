//! Draining from a server besides the layer's, one read at a time.

use super::drainer::{BOX, Bench, SALA, bench_with, card};
use super::*;

impl Bench {
    /// The layer's clock is known as it was this long ago.
    async fn set_clock_back(&self, span: Duration) {
        let remote = self.drainer.remote.as_ref().unwrap();
        let now = remote.moment(&self.drainer.redis).await.unwrap();
        remote.set_layer_time(now - span.as_millis() as u64);
    }

    /// Waits until losses of the other server are to be told, and tells them.
    async fn tell_losses(&self) {
        let remote = self.drainer.remote.as_ref().unwrap();
        remote.redis.check_generation();
        until("losses are found", || remote.redis.untold().is_some()).await;
        self.drainer.may_take().await;
        until("they are told", || remote.redis.current().is_some()).await;
    }
}

/// One mailbox, on `channels`.
fn apart(channels: &RedisServer) -> SourceSettings {
    let mut settings = settings(1);
    settings.channels.server = Some(RedisSettings::new(&channels.url()).unwrap());
    settings
}

/// The layer's server, the channel layer's, and a drainer between them.
async fn between() -> (RedisServer, RedisServer, Bench) {
    let (layer, channels) = (RedisServer::start(), RedisServer::start());
    let bench = bench_with(&layer, apart(&channels)).await;
    (layer, channels, bench)
}

fn members(channels: &RedisServer) -> String {
    channels.ask(&["ZRANGE", "asgi:group:sala_1", "0", "-1"])
}

#[tokio::test]
async fn publishes_on_one_server_and_removes_on_the_other_in_order() {
    let (layer, channels, mut bench) = between().await;
    bench.listen(&["sala_1"]).await;
    assert_eq!(members(&channels), "*1\r\n$28\r\ngroupcast.groupcast.0!sala_1\r\n");
    assert_eq!(layer.ask(&["EXISTS", "asgi:group:sala_1"]), ":0\r\n");
    write(&channels, BOX, 1..=200, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.take(200).await, numbers(1..=200));
    assert_eq!((card(&channels).as_str(), bench.instance.count("sent")), (":0\r\n", 200));
    assert_eq!(channels.ask(&["HLEN", "groupcast:remote:underway"]), ":0\r\n");
}

#[tokio::test]
async fn an_entry_that_another_instance_published_is_only_removed() {
    let (layer, channels, mut first) = between().await;
    let mut second = bench_with(&layer, apart(&channels)).await;
    second.listen(&["sala_1"]).await;
    write(&channels, BOX, 1..=3, &[&[SALA]]);
    first.look().await;
    assert_eq!(second.instance.take(3).await, numbers(1..=3));
    // As if the first had been killed before it removed them.
    write(&channels, BOX, 1..=4, &[&[SALA]]);
    second.look().await;
    assert_eq!(second.instance.take(1).await, ["n4"]);
    assert_eq!(second.instance.count("taken_elsewhere"), 3);
    assert_eq!(card(&channels), ":0\r\n");
}

#[tokio::test]
async fn what_was_read_too_long_ago_is_read_again() {
    let (_layer, channels, mut bench) = between().await;
    bench.listen(&["sala_1"]).await;
    write(&channels, BOX, 1..=1, &[&[SALA]]);
    // As if the process had been stopped for a minute after it read.
    bench.set_clock_back(Duration::from_secs(60)).await;
    bench.look().await;
    assert_eq!((card(&channels).as_str(), bench.instance.count("sent")), (":1\r\n", 0));
    bench.look().await;
    assert_eq!(bench.instance.take(1).await, ["n1"]);
    assert_eq!(card(&channels), ":0\r\n");
}

#[tokio::test]
async fn an_entry_that_waits_for_its_group_keeps_its_place() {
    let (layer, channels, mut bench) = between().await;
    super::drainer::leave_behind(&layer);
    channels.ask(&["ZADD", "asgi:group:sala_1", "1", SALA]);
    bench.set_parking(2);
    write(&channels, BOX, 1..=4, &[&[SALA]]);
    bench.look().await;
    assert_eq!((card(&channels).as_str(), bench.instance.count("parked")), (":2\r\n", 2));
    bench.listen(&["sala_1"]).await;
    assert_eq!(bench.instance.take(2).await, numbers(1..=2));
    bench.retry_left();
    bench.look().await;
    assert_eq!(bench.instance.take(2).await, numbers(3..=4));
    assert_eq!(card(&channels), ":0\r\n");
}

#[tokio::test]
async fn an_entry_for_a_group_that_nobody_holds_ends_its_registration() {
    let (_layer, channels, mut bench) = between().await;
    channels.ask(&["ZADD", "asgi:group:sala_1", "1", SALA]);
    channels.ask(&["ZADD", "asgi:group:sala_1", "1", "specific.1!2"]);
    write(&channels, BOX, 1..=1, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.count("no_listener"), 1);
    assert_eq!(members(&channels), "*1\r\n$12\r\nspecific.1!2\r\n", "consumers stay");
    assert_eq!(card(&channels), ":0\r\n");
}

#[tokio::test]
async fn senders_find_a_group_no_more_once_it_was_left() {
    let (_layer, channels, bench) = between().await;
    bench.listen(&["sala_1"]).await;
    bench.instance.layer.unsubscribe(&groups(&["sala_1"])).await.unwrap();
    bench.registrar().unregister(&groups(&["sala_1"])).await;
    assert_eq!(members(&channels), "*0\r\n");
}

#[tokio::test]
async fn a_flush_is_told_before_anything_newer_and_groups_are_found_again() {
    let (_layer, channels, mut bench) = between().await;
    bench.listen(&["sala_1"]).await;
    channels.ask(&["FLUSHALL"]);
    bench.tell_losses().await;
    // Of all groups of the mailbox, and of the registration that was missing: before it was renewed
    // and behind what it may have missed.
    let mut told = bench.instance.take(3).await;
    told.sort();
    assert_eq!(told, ["gap in [\"sala_1\"]", "gap in [\"sala_1\"]", "gap in all"]);
    assert!(members(&channels).starts_with("*1"), "it is found again");
    write(&channels, BOX, 1..=1, &[&[SALA]]);
    bench.look().await;
    assert_eq!(bench.instance.take(1).await, ["n1"]);
    assert_eq!(bench.instance.metric("groupcast_source_missing_total "), 1);
}
