//! Whole bridges, as they run.

use std::collections::HashMap;

use super::*;

/// An instance with its bridge, once that drains.
struct Station {
    ground: Ground,
    bridge: ChannelLayer,
}

async fn start(server: &RedisServer, settings: &Settings) -> Station {
    let ground = ground(server, settings).await;
    let metrics = Arc::clone(&ground.metrics.channels);
    let bridge = ChannelLayer::start(settings, &ground.layer, 64 * 1024, metrics).unwrap().unwrap();
    Station { ground, bridge }
}

async fn station(server: &RedisServer, settings: &Settings) -> Station {
    let station = start(server, settings).await;
    until("it drains", || station.bridge.is_well()).await;
    station
}

impl Station {
    async fn hold(&self, names: &[GroupName]) {
        self.ground.layer.subscribe(names).await.unwrap();
        self.bridge.enter(names).await.unwrap();
    }
}

fn only_ingress() -> Settings {
    Settings { ingress: true, channels: Channels::default() }
}

#[tokio::test]
async fn three_drain_the_same_mailboxes_once_and_in_order() {
    let server = RedisServer::start();
    let settings = settings(4);
    let mut stations = Vec::new();
    for _ in 0..3 {
        stations.push(station(&server, &settings).await);
    }
    let names: Vec<_> = (0..10).map(|n| group(&format!("sala_{n}"))).collect();
    for station in &stations {
        station.hold(&names).await;
    }
    let mailboxes = Mailboxes::new(&settings.channels, "groupcast");
    for first in (1..=300).step_by(20) {
        for name in &names {
            let key = mailboxes.of_groups(name.share(4));
            write(&server, &key, first..=first + 19, &[&[&mailboxes.member(name)]]);
        }
    }
    for station in &mut stations {
        let mut last: HashMap<GroupName, usize> = HashMap::new();
        for _ in 0..3000 {
            let incoming = timeout(LONG, station.ground.inbox.recv()).await.expect("it comes");
            let Some(Incoming::Publication(publication)) = incoming else {
                panic!("only publications were sent: {incoming:?}")
            };
            let Target::Group(name) = &publication.target else { panic!("{publication:?}") };
            let last = last.entry(name.clone()).or_default();
            *last += 1;
            assert_eq!(publication.event.kind(), format!("n{last}"), "{name}");
        }
    }
    let sum = |fate| stations.iter().map(|station| station.ground.count(fate)).sum::<u64>();
    until("all is counted", || sum("sent") == 3000).await;
}

#[tokio::test]
async fn a_stream_whose_head_cannot_be_sent_goes_on_behind_it() {
    let server = RedisServer::start();
    let station = station(&server, &only_ingress()).await;
    let mut station = station;
    station.hold(&groups(&["pedido.1", "sala_1"])).await;
    server.ask(&["SET", "groupcast:numbering:{pedido.1}", "a text"]);
    let script = "for n = 1, 600 do
        redis.call('XADD', KEYS[1], '*', 'group', 'pedido.1', 'event', '{\"type\":\"n'..n..'\"}')
    end
    return redis.call('XADD', KEYS[1], '*', 'group', 'sala_1', 'event', '{\"type\":\"otra\"}')";
    server.ask(&["EVAL", script, "1", "groupcast:ingress"]);
    assert_eq!(station.ground.next().await, "otra");
    server.ask(&["DEL", "groupcast:numbering:{pedido.1}"]);
    assert_eq!(station.ground.take(600).await, numbers(1..=600));
}

#[tokio::test]
async fn the_pubsub_layer_alone_leaves_nothing_to_drain_and_is_well() {
    let server = RedisServer::start();
    let channels = Channels { core: false, pubsub: true, ..settings(4).channels };
    let station = station(&server, &Settings { ingress: false, channels }).await;
    // Whoever asks Redis to be told of no beginnings in particular is told of every key.
    assert!(!server.ask(&["CLIENT", "LIST"]).contains("flags=tB"), "no key is watched");
    drop(station);
}

#[tokio::test]
async fn an_instance_with_another_number_of_mailboxes_is_told_why_it_cannot_be() {
    let server = RedisServer::start();
    let _first = station(&server, &settings(4)).await;
    let second = start(&server, &settings(8)).await;
    let error = timeout(LONG, second.bridge.disagreement()).await.unwrap();
    let key = "groupcast:bridge".to_owned();
    assert_eq!(error, ChannelsError::Boxes { here: 8, there: "4".to_owned(), key });
    assert!(!second.bridge.is_well());
}

#[tokio::test]
async fn who_has_no_mailboxes_says_nothing_of_their_number() {
    let server = RedisServer::start();
    let _first = station(&server, &only_ingress()).await;
    let _second = station(&server, &settings(8)).await;
    let _third = station(&server, &only_ingress()).await;
    assert_eq!(server.ask(&["HGET", "groupcast:bridge", "boxes"]), "$1\r\n8\r\n");
}

#[tokio::test]
async fn another_format_is_refused() {
    let server = RedisServer::start();
    server.ask(&["HSET", "groupcast:bridge", "format", "2"]);
    let station = start(&server, &settings(4)).await;
    let error = timeout(LONG, station.bridge.disagreement()).await.unwrap();
    assert_eq!(error, ChannelsError::Format { here: 1, there: "2".to_owned() });
}

#[tokio::test]
async fn who_rests_leaves_what_comes() {
    let server = RedisServer::start();
    let settings = settings(1);
    let mut station = station(&server, &settings).await;
    station.hold(&groups(&["sala_1"])).await;
    let (key, member) = ("asgigroupcast.groupcast.0!", "groupcast.groupcast.0!sala_1");
    write(&server, key, 1..=5, &[&[member]]);
    assert_eq!(station.ground.take(5).await, numbers(1..=5));
    station.bridge.rest();
    until("it has stopped", || !station.bridge.is_well()).await;
    write(&server, key, 6..=9, &[&[member]]);
    let mut next = self::station(&server, &settings).await;
    next.hold(&groups(&["sala_1"])).await;
    assert_eq!(station.ground.take(4).await, numbers(6..=9), "drained by the next");
    until("all is gone", || server.ask(&["ZCARD", key]) == ":0\r\n").await;
    drop(next.ground.inbox.try_recv());
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_learns_what_is_held() {
    let mut server = RedisServer::start();
    let mut station = station(&server, &settings(1)).await;
    station.hold(&groups(&["sala_1"])).await;
    server.kill();
    server.wipe();
    server.start_again();
    let found = || server.ask(&["ZCARD", "asgi:group:sala_1"]) == ":1\r\n";
    until("senders find the group again", found).await;
    write(&server, "asgigroupcast.groupcast.0!", 1..=3, &[&["groupcast.groupcast.0!sala_1"]]);
    assert_eq!(station.ground.next().await, "gap in [\"sala_1\"]");
    assert_eq!(station.ground.take(3).await, numbers(1..=3));
}
