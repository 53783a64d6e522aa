//! Losing and holding back, by the two tasks themselves: with a real Redis neither can be forced.

use std::time::Duration;

use fred::types::config::Server;
use fred::types::{Message, MessageKind, Value};
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::backlog::{Backlogged, MessageBacklog};
use super::boundary::Boundary;
use super::command_stream::CommandReplay;
use super::message_decoder::MessageDecoder;
use super::position_check::PositionCheck;
use super::subscription_reader::SubscriptionReader;
use super::*;
use crate::event::{Event, PublicationId};
use crate::group::GroupPattern;
use crate::layer::envelope::Announcement;
use crate::layer::group_queues::GroupQueues;
use crate::layer::{ClusterSecrets, External, Incoming, Loss, Retention};
use crate::telemetry::LogLimit;

const LONG: Duration = Duration::from_secs(20);

struct Way {
    messages: broadcast::Sender<Message>,
    backlog: MessageBacklog,
    boundary: Arc<Boundary>,
    histories: Arc<HistoryStore>,
    metrics: Arc<Metrics>,
    inbox: mpsc::Receiver<Incoming>,
}

/// Both tasks, with room for so many messages and bytes between them, and for one behind them.
fn way(ring: usize, room: usize, max_bytes: usize) -> Way {
    let instance = "k3f5a2bq".parse().unwrap();
    let groups = vec![GroupPattern::parse("*").unwrap()];
    let foreign = External { prefix: "asgi__group__".to_owned(), groups };
    let names = Arc::new(Names::new("groupcast", instance, Some(foreign), None));
    let codec = Arc::new(EnvelopeCodec::new(instance, &ClusterSecrets::default()));
    let boundary = Arc::<Boundary>::default();
    let metrics = Arc::new(Metrics::new());
    let settings = RedisSettings::new("redis://127.0.0.1:1").unwrap();
    let (client, lookup) = connect::client(&settings, 1).unwrap();
    let redis_health = Arc::new(RedisHealth::new(Arc::clone(&metrics), lookup));
    let (messages, receiver) = broadcast::channel(ring);
    let backlog = MessageBacklog::new(GroupQueues::new(room, max_bytes));
    let (sender, inbox) = mpsc::channel(1);
    let reader = SubscriptionReader {
        messages: receiver,
        names: Arc::clone(&names),
        codec: Arc::clone(&codec),
        backlog: backlog.clone(),
        redis_health: Arc::clone(&redis_health),
        questions: Arc::new(Questions::new()),
        peer_lags: Arc::default(),
        boundary: Arc::clone(&boundary),
    };
    let stream = CommandStream::new(
        Arc::clone(&names),
        Arc::clone(&codec),
        connect::commands(&client, &settings),
        Arc::clone(&redis_health),
    );
    let kept = Retention { size: 5, ttl: LONG };
    let history = History::new(vec![(GroupPattern::parse("pedido.*").unwrap(), kept)]);
    let histories = Arc::new(HistoryStore::new(
        history,
        Arc::clone(&names),
        Arc::clone(&codec),
        connect::commands(&client, &settings),
        Arc::clone(&redis_health),
        false,
    ));
    let decoder = MessageDecoder {
        backlog: backlog.clone(),
        replay: CommandReplay::new(Arc::new(stream), sender.clone()),
        inbox: sender,
        max_event_bytes: 1024,
        held_bytes: max_bytes,
        names,
        codec,
        redis_health,
        positions: PositionCheck::new(Arc::clone(&histories)),
        unreadable_log: LogLimit::default(),
    };
    tokio::spawn(reader.run());
    tokio::spawn(decoder.run());
    Way { messages, backlog, boundary, histories, metrics, inbox }
}

impl Way {
    fn send(&self, group: &str, number: usize) {
        let event = format!(r#"{{"type":"n{number}"}}"#);
        self.receive(format!("groupcast:group:{group}"), event.as_bytes());
    }

    /// What the cluster sends to external programs: the announcement and the message.
    fn announce(&self, group: &str, message: &[u8]) {
        self.receive(format!("groupcast:group:{group}"), &Announcement::of(message).write());
    }

    fn foreign(&self, group: &str, message: &[u8]) {
        self.receive(format!("asgi__group__{group}"), message);
    }

    fn receive(&self, channel: String, message: &[u8]) {
        let message = Message {
            channel: channel.into(),
            value: Value::Bytes(Bytes::copy_from_slice(message)),
            kind: MessageKind::Message,
            server: Server::new("127.0.0.1", 1),
        };
        self.messages.send(message).unwrap();
    }

    /// What arrives, as text.
    async fn next(&mut self) -> String {
        let incoming = timeout(LONG, self.inbox.recv()).await.expect("something comes");
        match incoming.expect("both tasks live") {
            Incoming::Publication(publication) => publication.event.kind().to_owned(),
            Incoming::Loss(Loss::All) => "gap in all".to_owned(),
            Incoming::Loss(Loss::Groups(groups)) => format!("gap in {groups:?}"),
            Incoming::External(group, message) => format!("{group}: {}", message.escape_ascii()),
            other => panic!("not sent: {other:?}"),
        }
    }

    /// Everything up to the message with this number.
    async fn until(&mut self, number: usize) -> Vec<String> {
        let mut seen = Vec::new();
        while seen.last() != Some(&format!("n{number}")) {
            seen.push(self.next().await);
        }
        seen
    }
}

/// Checks that numbers are in order, with a gap where some are missing. Returns the count of gaps.
fn check(seen: &[String], gap: &str) -> usize {
    let mut last = 0;
    let mut gaps = 0;
    let mut after_gap = false;
    for line in seen {
        match line.strip_prefix('n') {
            Some(number) => {
                let number: usize = number.parse().unwrap();
                assert!(number == last + 1 || (after_gap && number > last), "{seen:?}");
                last = number;
                after_gap = false;
            }
            None => {
                assert_eq!(line, gap);
                gaps += 1;
                after_gap = true;
            }
        }
    }
    gaps
}

#[tokio::test]
async fn replaces_a_message_without_room_by_a_gap_in_its_group() {
    let mut way = way(1024, 4, 1 << 20);
    for number in 1..=100 {
        way.send("sala_1", number);
    }
    // Everything has been taken or lost once the ring is empty; then there is room again.
    while !way.messages.is_empty() {
        tokio::task::yield_now().await;
    }
    let mut seen = vec![way.next().await, way.next().await];
    while !seen.last().is_some_and(|line| line.starts_with("gap")) {
        seen.push(way.next().await);
    }
    way.send("sala_1", 101);
    seen.extend(way.until(101).await);
    assert_eq!(check(&seen, "gap in [\"sala_1\"]"), 1, "{seen:?}");
    assert!(seen.len() < 20, "most were lost: {seen:?}");
}

#[tokio::test]
async fn bounds_the_bytes_of_the_backlog_as_well_as_its_messages() {
    let mut way = way(1024, 1024, 200);
    for number in 1..=100 {
        way.send("sala_1", number);
    }
    while !way.messages.is_empty() {
        tokio::task::yield_now().await;
    }
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|line: &String| line.starts_with("gap")) {
        seen.push(way.next().await);
    }
    way.send("sala_1", 101);
    seen.extend(way.until(101).await);
    assert_eq!(check(&seen, "gap in [\"sala_1\"]"), 1, "{seen:?}");
    assert!(seen.len() < 30, "{seen:?}");
    // Messages taken out free their bytes, repeatedly.
    for number in 102..200 {
        way.send("sala_1", number);
        assert_eq!(way.next().await, format!("n{number}"));
    }
}

#[tokio::test]
async fn reports_a_gap_in_all_groups_when_the_client_library_drops_messages() {
    let mut way = way(4, 1024, 1 << 20);
    for number in 1..=100 {
        way.send("sala_1", number);
    }
    let seen = way.until(100).await;
    assert_eq!(check(&seen, "gap in all"), 1, "{seen:?}");
}

#[tokio::test]
async fn delivers_messages_received_while_resubscribing_after_the_gap() {
    let mut way = way(1024, 1024, 1 << 20);
    way.send("sala_1", 1);
    assert_eq!(way.next().await, "n1");
    for _ in 0..2 {
        way.backlog.push(None, Backlogged::Resubscribing);
    }
    way.send("sala_1", 2);
    while !way.messages.is_empty() {
        tokio::task::yield_now().await;
    }
    way.backlog.push(None, Backlogged::Resubscribed(Stamp::default()));
    way.send("sala_1", 3);
    assert_eq!([way.next().await, way.next().await, way.next().await], ["gap in all", "n2", "n3"]);
}

#[tokio::test]
async fn a_flood_received_while_resubscribing_costs_and_delays_no_other_group() {
    let mut way = way(1 << 14, 1 << 14, 1 << 22);
    way.backlog.push(None, Backlogged::Resubscribing);
    for number in 1..=8000 {
        way.send("sala_1", number);
        if number % 1000 == 0 {
            while !way.messages.is_empty() {
                tokio::task::yield_now().await;
            }
        }
    }
    way.send("sala_2", 9000);
    while !way.messages.is_empty() {
        tokio::task::yield_now().await;
    }
    way.backlog.push(None, Backlogged::Resubscribed(Stamp::default()));
    assert_eq!(way.next().await, "gap in all");
    let mut first = Vec::new();
    for _ in 0..8 {
        first.push(way.next().await);
    }
    assert!(first.contains(&"n9000".to_owned()), "{first:?}");
    let mut rest = vec![way.next().await];
    while rest.last().unwrap().starts_with('n') {
        rest.push(way.next().await);
    }
    assert!(rest.len() > 5000, "{}", rest.len());
    assert_eq!(rest.last().unwrap(), r#"gap in ["sala_1"]"#);
}

/// Redis never answers here, so the message in question waits for half a second.
#[tokio::test]
async fn other_groups_do_not_wait_while_a_position_is_looked_up() {
    let mut way = way(1024, 1024, 1 << 20);
    way.histories.subscribed(&[GroupName::parse("pedido.1").unwrap()]);
    let event = br#"{"type":"n1"}"#;
    let message = [&b"\x029.x 5\n\x01\x00aaaaaaaa"[..], &[7; 16], b"\0\0", event].concat();
    way.receive("groupcast:group:pedido.1".to_owned(), &message);
    way.send("sala_1", 2);
    assert_eq!(way.next().await, "n2");
    let unreadable = || {
        let text = way.metrics.render();
        let line = text.lines().find(|line| line.starts_with("groupcast_layer_unreadable_total "));
        line.unwrap().to_owned()
    };
    assert!(unreadable().ends_with(" 0"), "it still waits: {}", unreadable());
    let deadline = Instant::now() + LONG;
    while unreadable().ends_with(" 0") {
        assert!(Instant::now() < deadline, "it is discarded, since nobody has confirmed it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn reports_the_gap_of_a_lost_connection_after_its_last_message() {
    for room in [1024, 2] {
        let mut way = way(1024, room, 1 << 20);
        for number in 1..=5 {
            way.send("sala_1", number);
        }
        let mark = way.boundary.begin().to_string();
        for mark in ["1", "not a number", &mark] {
            let channel = "groupcast:instance:k3f5a2bq:connection".to_owned();
            way.receive(channel, mark.as_bytes());
        }
        way.send("sala_1", 6);
        // Everything was sent before anything was read.
        let mut seen = Vec::new();
        if room > 5 {
            seen.extend(way.until(5).await);
            assert_eq!(check(&seen, "no gap"), 0, "{seen:?}");
        } else {
            while seen.last().is_none_or(|seen: &String| !seen.starts_with("gap")) {
                seen.push(way.next().await);
            }
        }
        while !way.messages.is_empty() {
            tokio::task::yield_now().await;
        }
        way.backlog.push(None, Backlogged::Resubscribed(Stamp::default()));
        way.send("sala_1", 7);
        let rest = way.until(7).await;
        assert_eq!(rest.first().unwrap(), "gap in all", "{seen:?} {rest:?}");
    }
}

/// How many of so many publications of one group, with so many bytes of JSON, go in each chunk.
fn chunks(group: &str, count: usize, bytes: usize) -> Vec<usize> {
    let instance = "k3f5a2bq".parse().unwrap();
    let names = Names::new("groupcast", instance, None, None);
    let codec = EnvelopeCodec::new(instance, &ClusterSecrets::default());
    let kept = Retention { size: 5, ttl: LONG };
    let history = History::new(vec![(GroupPattern::parse("pedido.*").unwrap(), kept)]);
    let json = format!(r#"{{"type":"a","x":"{}"}}"#, "x".repeat(bytes));
    let publication = Publication {
        id: PublicationId::random(),
        target: Target::Group(GroupName::parse(group).unwrap()),
        event: Event::parse(Bytes::from(json)).unwrap(),
        except: Default::default(),
        accepted: Instant::now(),
        deadline: None,
        position: None,
    };
    let publications = vec![publication; count];
    let (mut rest, mut counts) = (publications.as_slice(), Vec::new());
    while !rest.is_empty() {
        let left = ScriptBatch::new(&names, &history, &codec).fill(rest, Instant::now());
        counts.push(rest.len() - left.len());
        rest = left;
    }
    counts
}

#[test]
fn bounds_a_batch_by_its_time_in_redis() {
    assert_eq!(chunks("sala_1", 256, 10), [256]);
    assert_eq!(chunks("sala_1", 257, 10), [256, 1]);
    assert_eq!(chunks("pedido.42", 33, 10), [32, 1], "numbering and keeping take longer");
    assert_eq!(chunks("sala_1", 10, 64 * 1024), [3, 3, 3, 1], "256 KiB with channel and header");
    assert_eq!(chunks("sala_1", 2, 300 * 1024), [1, 1], "alone rather than never");
}

#[tokio::test]
async fn discards_external_messages_that_the_cluster_sent_itself() {
    let mut way = way(1024, 1024, 1 << 20);
    way.announce("sala_1", b"aviso");
    way.foreign("sala_1", b"aviso");
    // Another program sends the same.
    way.foreign("sala_1", b"aviso");
    assert_eq!(way.next().await, "sala_1: aviso");
    // The connection broke between the two, so the message is another program's.
    way.announce("sala_1", b"aviso");
    way.foreign("sala_1", b"otro");
    way.foreign("sala_1", b"aviso");
    assert_eq!([way.next().await, way.next().await], ["sala_1: otro", "sala_1: aviso"]);
    way.announce("sala_1", b"aviso");
    way.foreign("sala_2", b"aviso");
    assert_eq!(way.next().await, "sala_2: aviso");
}

#[tokio::test]
async fn discards_the_clusters_own_external_messages_even_without_room() {
    let mut way = way(1024, 4, 1 << 20);
    for number in 1..=100 {
        way.send("sala_1", number);
        way.announce("sala_2", b"aviso");
        way.foreign("sala_2", b"aviso");
    }
    while !way.messages.is_empty() {
        tokio::task::yield_now().await;
    }
    way.send("sala_1", 101);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|line| line != "gap in [\"sala_1\"]") {
        seen.push(way.next().await);
    }
    assert!(!seen.iter().any(|line| line.contains("sala_2")), "{seen:?}");
}
