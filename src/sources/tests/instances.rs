//! Whole instances.

use std::collections::HashMap;

use super::*;
use crate::channels::Formats;

/// An instance with all of its parts.
pub(super) struct Running {
    pub(super) instance: TestInstance,
    pub(super) django: DjangoLayer,
    sources: Sources,
}

pub(super) async fn start(server: &RedisServer, settings: &SourceSettings) -> Running {
    let instance = test_instance(server, settings).await;
    let (django, connection) = instance.parts(settings);
    instance.may_enter(&connection).await;
    let (metrics, supervisor) =
        (&Arc::new(SourceMetrics::new(&instance.metrics)), &instance.supervisor);
    let sources = Sources::start(settings, connection, &django, 64 * 1024, metrics, supervisor);
    Running { instance, django, sources }
}

pub(super) async fn draining(server: &RedisServer, settings: &SourceSettings) -> Running {
    let running = start(server, settings).await;
    until("it drains", || running.sources.is_draining()).await;
    running
}

impl Running {
    pub(super) async fn hold(&self, names: &[GroupName]) {
        self.instance.layer.subscribe(names).await.unwrap();
        self.django.registrar.register(names, ChosenBy::Server).await.unwrap();
    }
}

/// Of one mailbox.
pub(super) const BOX: &str = "asgigroupcast.groupcast.0!";
pub(super) const SALA: &str = "groupcast.groupcast.0!sala_1";

pub(super) fn only_ingress() -> SourceSettings {
    SourceSettings { ingress: true, channels: ChannelSettings::default() }
}

#[tokio::test]
async fn delivers_each_entry_once_and_in_order_with_three_drainers() {
    let server = RedisServer::start();
    let settings = settings(4);
    let mut instances = Vec::new();
    for _ in 0..3 {
        instances.push(draining(&server, &settings).await);
    }
    let names: Vec<_> = (0..10).map(|n| group(&format!("sala_{n}"))).collect();
    for running in &instances {
        running.hold(&names).await;
    }
    let mailboxes = MailboxNames::new(&settings.channels, "groupcast");
    for first in (1..=300).step_by(20) {
        for name in &names {
            let key = mailboxes.of_groups(name.share(4));
            write(&server, &key, first..=first + 19, &[&[&mailboxes.member(name)]]);
        }
    }
    for running in &mut instances {
        let mut last: HashMap<GroupName, usize> = HashMap::new();
        let mut received = 0;
        while received < 3000 {
            let incoming = timeout(LONG, running.instance.inbox.recv()).await.expect("it arrives");
            let publication = match incoming {
                Some(Incoming::Publication(publication)) => publication,
                // Nothing was sent when the layer subscribed for the first time.
                Some(Incoming::Loss(Loss::All)) if received == 0 => continue,
                other => panic!("only publications were sent: {other:?}"),
            };
            received += 1;
            let Target::Group(name) = &publication.target else { panic!("{publication:?}") };
            let last = last.entry(name.clone()).or_default();
            *last += 1;
            assert_eq!(publication.event.kind(), format!("n{last}"), "{name}");
        }
    }
    let sum = |fate| instances.iter().map(|running| running.instance.count(fate)).sum::<u64>();
    until("all is counted", || sum("sent") == 3000).await;
}

#[tokio::test]
async fn drains_a_stream_past_a_head_that_cannot_be_published() {
    let server = RedisServer::start();
    let mut running = draining(&server, &only_ingress()).await;
    running.hold(&groups(&["pedido.1", "sala_1"])).await;
    server.ask(&["SET", "groupcast:numbering:{pedido.1}", "a text"]);
    let script = "for n = 1, 600 do
        redis.call('XADD', KEYS[1], '*', 'group', 'pedido.1', 'event', '{\"type\":\"n'..n..'\"}')
    end
    return redis.call('XADD', KEYS[1], '*', 'group', 'sala_1', 'event', '{\"type\":\"otra\"}')";
    server.ask(&["EVAL", script, "1", "groupcast:ingress"]);
    assert_eq!(running.instance.next().await, "otra");
    server.ask(&["DEL", "groupcast:numbering:{pedido.1}"]);
    assert_eq!(running.instance.take(600).await, numbers(1..=600));
}

#[tokio::test]
async fn is_healthy_with_the_pubsub_layer_alone() {
    let server = RedisServer::start();
    let channels = ChannelSettings { core: false, pubsub: true, ..settings(4).channels };
    let running = draining(&server, &SourceSettings { ingress: false, channels }).await;
    // Tracking without a prefix would report every key.
    assert!(!server.ask(&["CLIENT", "LIST"]).contains("flags=tB"), "no key is watched");
    drop(running);
}

#[tokio::test]
async fn refuses_to_drain_with_another_number_of_mailboxes() {
    let server = RedisServer::start();
    let _first = draining(&server, &settings(4)).await;
    let second = start(&server, &settings(8)).await;
    let error = timeout(LONG, second.sources.disagreement()).await.unwrap();
    let key = "groupcast:bridge".to_owned();
    assert_eq!(error, AgreementError::Boxes { here: 8, there: "4".to_owned(), key });
    assert!(!second.sources.is_draining());
}

#[tokio::test]
async fn agrees_on_no_number_of_mailboxes_without_the_core_layer() {
    let server = RedisServer::start();
    let _first = draining(&server, &only_ingress()).await;
    let _second = draining(&server, &settings(8)).await;
    let _third = draining(&server, &only_ingress()).await;
    assert_eq!(server.ask(&["HGET", "groupcast:bridge", "boxes"]), "$1\r\n8\r\n");
}

#[tokio::test]
async fn refuses_to_drain_with_a_format_that_this_release_cannot_read() {
    let server = RedisServer::start();
    server.ask(&["HSET", "groupcast:bridge", "format", "2"]);
    let running = start(&server, &settings(4)).await;
    let error = timeout(LONG, running.sources.disagreement()).await.unwrap();
    let key = "groupcast:bridge".to_owned();
    assert_eq!(error, AgreementError::Format { here: FORMATS, there: "2".to_owned(), key });
}

#[tokio::test]
async fn runs_two_releases_side_by_side_and_then_raises_the_format() {
    let server = RedisServer::start();
    let settings = settings(4);
    let older = test_instance(&server, &settings).await;
    let (_django, older_connection) = older.parts(&settings);
    let newer = test_instance(&server, &settings).await;
    let (_django, newer_connection) = newer.parts(&settings);
    let ask = async |oldest, newest, connection: &SourceConnection| {
        let agreement = Agreement::new(&settings.channels, Formats::range(oldest, newest));
        agreement.ask(&connection.redis).await.unwrap()
    };
    let in_use = || server.ask(&["HGET", "groupcast:bridge", "format"]);

    assert_eq!(ask(1, 1, &older_connection).await, Ok(()));
    assert_eq!(ask(1, 2, &newer_connection).await, Ok(()));
    assert_eq!(in_use(), "$1\r\n1\r\n", "the older release reads no newer format");

    // The older instance is replaced by one of the newer release.
    assert_eq!(ask(1, 2, &older_connection).await, Ok(()));
    assert_eq!(in_use(), "$1\r\n2\r\n", "now all read it");

    // A release that returns cannot read what is written now, and one that dropped the first
    // format can.
    let there = "2".to_owned();
    let key = "groupcast:bridge".to_owned();
    let here = Formats::range(1, 1);
    let refused = ask(1, 1, &older_connection).await;
    assert_eq!(refused, Err(AgreementError::Format { here, there, key }));
    assert_eq!(ask(2, 3, &newer_connection).await, Ok(()));
}

#[tokio::test]
async fn keeps_the_format_while_an_instance_has_not_said_what_it_reads() {
    let server = RedisServer::start();
    let settings = settings(4);
    server.ask(&["HSET", "groupcast:bridge", "format", "1", "boxes", "4"]);
    let _unknown = test_instance(&server, &settings).await;
    let newer = test_instance(&server, &settings).await;
    let (_django, connection) = newer.parts(&settings);
    let agreement = Agreement::new(&settings.channels, Formats::range(1, 2));
    assert_eq!(agreement.ask(&connection.redis).await.unwrap(), Ok(()));
    assert_eq!(server.ask(&["HGET", "groupcast:bridge", "format"]), "$1\r\n1\r\n");

    // The data is lost, and the heartbeats return first.
    server.ask(&["DEL", "groupcast:bridge", "groupcast:formats"]);
    assert_eq!(agreement.ask(&connection.redis).await.unwrap(), Ok(()));
    assert_eq!(server.ask(&["HGET", "groupcast:bridge", "format"]), "$1\r\n1\r\n");
}

#[tokio::test]
async fn begins_a_cluster_with_the_newest_format() {
    let server = RedisServer::start();
    let settings = settings(4);
    let first = test_instance(&server, &settings).await;
    let (_django, connection) = first.parts(&settings);
    let agreement = Agreement::new(&settings.channels, Formats::range(1, 2));
    assert_eq!(agreement.ask(&connection.redis).await.unwrap(), Ok(()));
    assert_eq!(server.ask(&["HGET", "groupcast:bridge", "format"]), "$1\r\n2\r\n");
}

#[tokio::test]
async fn leaves_new_entries_in_the_source_after_stop() {
    let server = RedisServer::start();
    let settings = settings(1);
    let mut running = draining(&server, &settings).await;
    running.hold(&groups(&["sala_1"])).await;
    let (key, member) = ("asgigroupcast.groupcast.0!", "groupcast.groupcast.0!sala_1");
    write(&server, key, 1..=5, &[&[member]]);
    assert_eq!(running.instance.take(5).await, numbers(1..=5));
    running.sources.stop();
    until("it has stopped", || !running.sources.is_draining()).await;
    write(&server, key, 6..=9, &[&[member]]);
    let mut next = draining(&server, &settings).await;
    next.hold(&groups(&["sala_1"])).await;
    assert_eq!(running.instance.take(4).await, numbers(6..=9), "drained by the next");
    until("all is gone", || server.ask(&["ZCARD", key]) == ":0\r\n").await;
    drop(next.instance.inbox.try_recv());
}

#[tokio::test]
async fn registers_groups_again_in_a_redis_that_returns_empty() {
    let mut server = RedisServer::start();
    let mut running = draining(&server, &settings(1)).await;
    running.hold(&groups(&["sala_1"])).await;
    server.kill();
    server.wipe();
    server.start_again();
    let found = || server.ask(&["ZCARD", "asgi:group:sala_1"]) == ":1\r\n";
    until("senders find the group again", found).await;
    write(&server, "asgigroupcast.groupcast.0!", 1..=3, &[&["groupcast.groupcast.0!sala_1"]]);
    let mut first = running.instance.next().await;
    if first == "gap in all" {
        // It was subscribed again when the loss of the data was announced.
        first = running.instance.next().await;
    }
    assert_eq!(first, "gap in [\"sala_1\"]");
    assert_eq!(running.instance.take(3).await, numbers(1..=3));
}
