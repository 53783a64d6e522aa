//! A cluster with secrets: what another program writes on a channel does nothing.

use std::sync::Mutex;

use super::*;
use crate::event::{Control, Member};
use crate::layer::envelope::EnvelopeCodec;
use crate::layer::{Loss, OnceKey, WhenFull};
use server::resp::{Connection, Reply};

const GROUP: &str = "groupcast:group:pedido.42";
const CONTROL: &str = "groupcast:control";

fn secrets(secrets: &[&str], require: bool) -> ClusterSecrets {
    let secrets = secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect();
    ClusterSecrets { secrets, require }
}

/// An instance with these secrets and a member of `pedido.42` and `sala`.
async fn signing(server: &RedisServer, known: &[&str], require: bool) -> Instance {
    let instance = over(server, |settings| settings.secrets = secrets(known, require).into()).await;
    instance.subscribe(&["pedido.42", "sala"]).await;
    instance
}

/// What is published on these channels while `publish` runs.
async fn capture(
    server: &RedisServer,
    channels: &[&str],
    publish: impl Future<Output = ()>,
) -> Vec<Vec<u8>> {
    let mut listener = Connection::open(server.address()).unwrap();
    let mut words = vec![&b"SUBSCRIBE"[..], b"end"];
    words.extend(channels.iter().map(|channel| channel.as_bytes()));
    listener.ask(&words).unwrap();
    for _ in 2..words.len() {
        listener.read().unwrap();
    }
    publish.await;
    self::publish(server, "end", b"");
    let mut captured = Vec::new();
    loop {
        match listener.read().unwrap() {
            Reply::Array(parts) => match parts.as_slice() {
                [_, Reply::Bulk(channel), _] if channel == b"end" => return captured,
                [_, _, Reply::Bulk(message)] => captured.push(message.clone()),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

/// The second by Redis' clock.
fn second(server: &RedisServer) -> String {
    server.ask(&["TIME"]).lines().nth(2).unwrap().to_owned()
}

fn publish(server: &RedisServer, channel: &str, message: &[u8]) {
    server.ask(&[&b"PUBLISH"[..], channel.as_bytes(), message]);
}

fn bare(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[1, kind][..], b"aaaaaaaa", rest].concat()
}

#[tokio::test]
async fn what_is_forged_on_any_channel_does_nothing_where_signatures_are_required() {
    let server = RedisServer::start();
    let mut instance = signing(&server, &["uno"], true).await;
    let own = format!("groupcast:instance:{}", instance.id);
    let id = [7; 16];
    let event = br#"{"type":"forged"}"#;
    let publication = |target: &[u8]| [&id[..], b"\x00\x00", target, event].concat();
    publish(&server, GROUP, &bare(0, &publication(b"")));
    publish(&server, GROUP, &[b"\x029.x 1\n", &bare(0, &publication(b""))[..]].concat());
    publish(&server, GROUP, &[b"\x035\n", &bare(0, &publication(b""))[..]].concat());
    publish(&server, "groupcast:user", &bare(1, &publication(b"\x017")));
    publish(&server, &own, &bare(2, &publication(b"k3f5a2bq\x01")));
    publish(&server, CONTROL, &bare(3, &publication(b"")));
    publish(&server, CONTROL, &bare(4, b"\x00\x017\x01a"));
    publish(&server, CONTROL, &bare(6, b"\x00\x017\xa1\x1f"));
    publish(&server, CONTROL, &bare(8, b"\x01\x00\x01"));
    for number in 1..20 {
        publish(&server, &own, &bare(7, &[&[number][..], b"1 900 0\n"].concat()));
        publish(&server, &format!("{own}:connection"), number.to_string().as_bytes());
    }
    // The same with a signature that no secret made.
    let signed = [&[5; 17][..], &[0, 0, 0, 45], &bare(0, &publication(b""))].concat();
    publish(&server, GROUP, &signed);
    instance.has_nothing().await;
    // A bare event names no sender: it is an event, as from any program with rights on the channel.
    publish(&server, GROUP, br#"{"type":"bare"}"#);
    assert_eq!(instance.next_text().await, event_text("bare"));
}

#[tokio::test]
async fn all_kinds_pass_between_instances_that_require_signatures() {
    let server = RedisServer::start();
    let mut one = signing(&server, &["uno"], true).await;
    let other = signing(&server, &["uno"], true).await;
    other.send("pedido.42", "kept").await;
    let first = one.next_publication().await;
    assert_eq!(text_of(&first), event_text("kept"));
    assert_eq!(first.position.as_ref().map(|at| at.offset), Some(1));
    other.send("sala", "unkept").await;
    assert_eq!(one.next_text().await, event_text("unkept"));
    let connection = ConnectionId { instance: one.id, serial: 1 };
    for target in [Target::User("7".into()), Target::Connection(connection), Target::All] {
        other.layer.publish(to(target, "event")).await.unwrap();
        assert_eq!(one.next_text().await, event_text("event"));
    }
    let many = ["pedido.42", "sala", "pedido.42"];
    let many = many.map(|name| to(Target::Group(group(name)), "many")).to_vec();
    other.layer.publish_many(many, |_| ()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(one.next_text().await, event_text("many"));
    }
    let close = Control::Close(Member::User("7".into()), 4403);
    other.layer.control(close.clone()).await.unwrap();
    match one.next().await {
        Incoming::Control(control, Some(_)) => assert_eq!(control, close),
        other => panic!("a command was expected: {other:?}"),
    }
    // A history is read by the same rules.
    let asked = [(group("pedido.42"), first.position.clone())];
    let recovery = one.layer.recover(&asked).await.unwrap().remove(0).unwrap();
    assert_eq!((recovery.recovered, recovery.replay.len()), (Some(true), 2));
}

#[tokio::test]
async fn a_copy_of_a_signed_message_does_nothing_on_any_channel() {
    let server = RedisServer::start();
    let mut instance = signing(&server, &["uno"], true).await;
    let channels = [GROUP, "groupcast:group:sala", "groupcast:user", CONTROL];
    let captured = capture(&server, &channels, async {
        instance.send("pedido.42", "event").await;
        instance.send("sala", "event").await;
        instance.layer.publish(to(Target::User("7".into()), "event")).await.unwrap();
        instance.layer.publish(to(Target::All, "event")).await.unwrap();
        instance.layer.control(Control::Close(Member::User("7".into()), 4403)).await.unwrap();
    });
    let captured = captured.await;
    assert_eq!(captured.len(), 5, "{captured:?}");
    for _ in 0..5 {
        instance.next().await;
    }
    for message in &captured {
        for channel in channels {
            publish(&server, channel, message);
        }
    }
    instance.has_nothing().await;
    // Nor has it muted the group.
    instance.send("pedido.42", "next").await;
    assert_eq!(instance.next_text().await, event_text("next"));
}

#[tokio::test]
async fn a_changed_message_is_discarded() {
    let server = RedisServer::start();
    let sender = signing(&server, &["uno"], true).await;
    let captured = capture(&server, &["groupcast:group:sala"], sender.send("sala", "event")).await;
    let message = &captured[0];
    let mut instance = signing(&server, &["uno"], true).await;
    for at in 0..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 1;
        publish(&server, "groupcast:group:sala", &changed);
    }
    for length in 0..message.len() {
        publish(&server, "groupcast:group:sala", &message[..length]);
    }
    instance.has_nothing().await;
}

/// A command from before an instance ran, with a place that Redis does not know.
#[tokio::test]
async fn a_made_up_place_of_a_genuine_command_is_not_believed() {
    let server = RedisServer::start();
    let sender = signing(&server, &["uno"], true).await;
    let close = Control::Close(Member::User("7".into()), 4403);
    let captured = capture(&server, &[CONTROL], async {
        sender.layer.control(close.clone()).await.unwrap();
    });
    let message = captured.await.swap_remove(0);
    let mut instance = signing(&server, &["uno"], true).await;
    let before = instance.layer.stamp().await;
    let envelope = &message[..21 + length_of(&message)];
    let forged = [envelope, format!("{} 900000 0\n", before.generation).as_bytes()].concat();
    publish(&server, CONTROL, &forged);
    instance.layer.publish(to(Target::All, "marker")).await.unwrap();
    while instance.next_text_or_command().await.as_deref() != Some(&event_text("marker")) {}
    let after = instance.layer.stamp().await;
    assert!(after.number < 900_000, "{after:?}");
}

/// The length of the envelope in a signed message.
fn length_of(message: &[u8]) -> usize {
    u32::from_be_bytes(message[17..21].try_into().unwrap()) as usize
}

impl Instance {
    async fn next_text_or_command(&mut self) -> Option<String> {
        match self.next().await {
            Incoming::Publication(publication) => Some(text_of(&publication)),
            _ => None,
        }
    }
}

#[tokio::test]
async fn secrets_are_rotated_instance_by_instance() {
    let server = RedisServer::start();
    for (sender, receiver) in [
        (&["uno"][..], &["uno", "dos"][..]),
        (&["dos", "uno"], &["uno", "dos"]),
        (&["dos", "uno"], &["dos"]),
        (&["dos"], &["dos", "uno"]),
    ] {
        let sender = signing(&server, sender, true).await;
        let mut receiver = signing(&server, receiver, true).await;
        sender.send("sala", "event").await;
        assert_eq!(receiver.next_text().await, event_text("event"));
    }
    let stranger = signing(&server, &["tres"], true).await;
    let mut receiver = signing(&server, &["dos"], true).await;
    stranger.send("sala", "foreign").await;
    receiver.has_nothing().await;
}

/// First all instances get the secrets, then they require signatures.
#[tokio::test]
async fn instances_with_and_without_secrets_work_side_by_side() {
    let server = RedisServer::start();
    let mut without = signing(&server, &[], false).await;
    let mut with = signing(&server, &["uno"], false).await;
    without.send("sala", "unsigned").await;
    assert_eq!(with.next_text().await, event_text("unsigned"));
    assert_eq!(without.next_text().await, event_text("unsigned"));
    let captured = capture(&server, &["groupcast:group:sala"], with.send("sala", "signed")).await;
    assert_eq!(captured[0][0], 5, "{captured:?}");
    assert_eq!(without.next_text().await, event_text("signed"));
}

/// As of a release that knows no signatures and would discard what is signed.
#[tokio::test]
async fn signs_nothing_while_an_instance_of_an_older_release_runs() {
    let server = RedisServer::start();
    let instance = signing(&server, &["uno"], false).await;
    let is_signed = async || {
        let sent = instance.send("sala", "event");
        capture(&server, &["groupcast:group:sala"], sent).await[0][0] == 5
    };
    assert!(is_signed().await);
    server.ask(&["ZADD", "groupcast:instances", &second(&server), "oldrelea"]);
    let deadline = Instant::now() + LONG;
    while is_signed().await {
        assert!(Instant::now() < deadline, "it hears of the older instance");
    }
    server.ask(&["ZREM", "groupcast:instances", "oldrelea"]);
    while !is_signed().await {
        assert!(Instant::now() < deadline, "the older instance is gone");
    }
}

/// The script finds an id that is not in the signature.
#[tokio::test]
async fn a_keyed_publication_repeated_in_a_new_generation_keeps_its_first_id() {
    let server = RedisServer::start();
    let mut instance = signing(&server, &["uno"], true).await;
    let key = |name: &str| OnceKey {
        scope: "api:shop".into(),
        capacity: 100,
        when_full: WhenFull::Refuse,
        key: Digest::of(&[name.as_bytes()]),
        content: Digest::of(&[b"content"]),
    };
    let keyed = |name: &str| KeyedPublication {
        publication: to(Target::Group(group("sala")), name),
        key: Some(key(name)),
    };
    let ids = Mutex::new(Vec::new());
    let done = |outcome| match outcome {
        OnceOutcome::Sent { id, .. } => ids.lock().unwrap().push(id),
        other => panic!("{other:?}"),
    };
    let window = Duration::from_secs(60);
    instance.layer.publish_once(vec![keyed("a"), keyed("b")], window, done).await.unwrap();
    instance.next_generation(&server).await;
    let again = vec![keyed("new"), keyed("a"), keyed("b"), keyed("other")];
    let deadline = Instant::now() + LONG;
    while let Err(error) = instance.layer.publish_once(again.clone(), window, done).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ids = ids.into_inner().unwrap();
    assert_eq!(ids.len(), 6);
    assert_eq!((ids[3], ids[4]), (ids[0], ids[1]));
    let mut arrived = Vec::new();
    while arrived.len() < 6 {
        if let Incoming::Publication(it) = instance.next().await {
            arrived.push((it.id, text_of(&it)));
        }
    }
    let expected = ["a", "b", "new", "a", "b", "other"].map(event_text);
    let expected: Vec<_> = ids.into_iter().zip(expected).collect();
    assert_eq!(arrived, expected);
}

impl Instance {
    /// Another server takes over with the same data, as far as the instance can tell.
    async fn next_generation(&self, server: &RedisServer) {
        let before = self.layer.stamp().await.generation;
        server.ask(&["HSET", "groupcast:gen", "run", "another"]);
        let deadline = Instant::now() + LONG;
        while self.layer.stamp().await.generation == before {
            assert!(Instant::now() < deadline, "a heartbeat notices it");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_forged_announcement_hides_no_external_message() {
    let server = RedisServer::start();
    let with_external = |settings: &mut RedisSettings| {
        settings.secrets = secrets(&["uno"], true).into();
        let groups = vec![GroupPattern::parse("*").unwrap()];
        settings.external = Some(External { prefix: "asgi__group__".to_owned(), groups });
    };
    let mut instance = over(&server, with_external).await;
    instance.subscribe(&["sala"]).await;
    let forged = |message: &[u8]| {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message);
        [&[4][..], &hash.as_ref()[..16]].concat()
    };
    publish(&server, "groupcast:group:sala", &forged(b"genuine"));
    publish(&server, "asgi__group__sala", b"genuine");
    match instance.next().await {
        Incoming::External(_, message) => assert_eq!(message, b"genuine"[..]),
        other => panic!("{other:?}"),
    }
    let Layer::Redis(redis) = &instance.layer else { panic!("over Redis") };
    let (handle, _changes) = redis.handle(Vec::new()).unwrap();
    let (channel, announcement) = handle.announcement(&group("sala"), b"own");
    publish(&server, &channel, &announcement);
    publish(&server, "asgi__group__sala", b"own");
    instance.has_nothing().await;
}

/// Unsigned, and appended by another program.
#[tokio::test]
async fn a_forged_entry_of_a_history_is_not_replayed() {
    let server = RedisServer::start();
    let mut instance = signing(&server, &["uno"], true).await;
    instance.send("pedido.42", "n1").await;
    let at = instance.next_publication().await.position.clone();
    let forged = bare(0, &[&[7; 16][..], b"\x00\x00{\"type\":\"forged\"}"].concat());
    let (log, numbering) = ("groupcast:log:{pedido.42}", "groupcast:numbering:{pedido.42}");
    let ms = format!("{}000", second(&server));
    let add = [&b"XADD"[..], log.as_bytes(), b"2-0", b"t", ms.as_bytes(), b"e", &forged];
    server.ask(&add);
    server.ask(&["HSET", numbering, "offset", "2"]);
    let recovery = instance.layer.recover(&[(group("pedido.42"), at)]).await.unwrap().remove(0);
    let recovery = recovery.unwrap();
    assert_eq!(recovery.recovered, Some(false));
    assert!(recovery.replay.is_empty());
    assert!(!matches!(instance.inbox.try_recv(), Ok(Incoming::Loss(Loss::All))));
}

/// The price of a signature, made or verified: printed, since machines differ.
#[test]
fn a_signature_costs_a_few_microseconds() {
    let codec = EnvelopeCodec::new(InstanceId::random(), &secrets(&["uno"], true));
    let event = format!(r#"{{"type":"notice","text":"{}"}}"#, "x".repeat(170));
    let event = Event::parse(Bytes::from(event)).unwrap();
    let publication = Publication { event, ..to(Target::Group(group("sala")), "notice") };
    let (began, count) = (Instant::now(), 5000);
    for _ in 0..count {
        codec.publication("groupcast:group:sala", &publication, std::time::Instant::now());
    }
    let signed = began.elapsed() / count;
    let plain = EnvelopeCodec::new(InstanceId::random(), &ClusterSecrets::default());
    let began = Instant::now();
    for _ in 0..count {
        plain.publication("groupcast:group:sala", &publication, std::time::Instant::now());
    }
    let unsigned = began.elapsed() / count;
    println!("an envelope of 200 bytes: {unsigned:?} without a secret, {signed:?} with one");
    assert!(signed < Duration::from_millis(1), "{signed:?}");
}
