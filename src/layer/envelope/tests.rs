use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::write::{self, command, control, possible_loss, probe};
use super::*;
use crate::event::{ConnectionId, Except, Member, PublicationId, Target};
use crate::group::GroupName;
use crate::layer::ClusterSecrets;
use crate::layer::group_queues::QueueKey;

const MOST: usize = 1024;

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

fn instance() -> InstanceId {
    "k3f5a2bq".parse().unwrap()
}

fn to(target: Target, now: Instant) -> Publication {
    Publication {
        id: PublicationId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        target,
        event: Event::parse(Bytes::from_static(br#"{"type":"aviso"}"#)).unwrap(),
        except: Except::default(),
        accepted: now,
        deadline: None,
        position: None,
    }
}

fn envelope_of(origin: InstanceId, publication: &Publication, now: Instant) -> Vec<u8> {
    let mut envelope = Vec::new();
    write::append(&mut envelope, origin, publication, now);
    envelope
}

/// The channel that carries each kind of publication, as the layer sends it.
fn origin_of<'a>(target: &Target, group: &'a GroupName) -> Origin<'a> {
    match target {
        Target::Group(_) => Origin::Group(group),
        Target::User(_) => Origin::User,
        Target::Connection(_) => Origin::Instance,
        Target::All => Origin::Control,
    }
}

fn read(bytes: &[u8], now: Instant) -> Result<Decoded, EnvelopeError> {
    read_from(Origin::Group(&group("usuario_7")), bytes, now)
}

fn read_from(origin: Origin<'_>, bytes: &[u8], now: Instant) -> Result<Decoded, EnvelopeError> {
    read::decode(origin, Bytes::copy_from_slice(bytes), MOST, now, &|_| Ok(()))
}

fn read_publication(bytes: &[u8], now: Instant) -> Publication {
    read_publication_from(Origin::Group(&group("usuario_7")), bytes, now)
}

fn read_publication_from(origin: Origin<'_>, bytes: &[u8], now: Instant) -> Publication {
    match read_from(origin, bytes, now) {
        Ok(Decoded::From(origin, Message::Publication(publication))) => {
            assert_eq!(origin, instance());
            publication
        }
        other => panic!("a publication is in it: {other:?}"),
    }
}

#[test]
fn the_format_does_not_change_by_accident() {
    let now = Instant::now();
    let mut publication = to(Target::Group(group("usuario_7")), now);
    publication.deadline = Some(now + Duration::from_millis(5000));
    publication.except = Except {
        connections: vec![ConnectionId { instance: instance(), serial: 300 }],
        users: vec!["9".into()],
        owner: None,
    };
    let bytes = envelope_of(instance(), &publication, now + Duration::from_millis(200));
    let mut expected = b"\x01\x00k3f5a2bq".to_vec();
    expected.extend((1..=16).collect::<Vec<u8>>());
    // Age 200, flags, 4800 left, one connection (serial 300), one user.
    expected.extend(b"\xc8\x01\x03\xc0\x25\x01k3f5a2bq\xac\x02\x01\x019");
    expected.extend(br#"{"type":"aviso"}"#);
    assert_eq!(bytes, expected);
    publication.except =
        Except { users: Vec::new(), owner: Some("7".into()), ..publication.except };
    let bytes = envelope_of(instance(), &publication, now + Duration::from_millis(200));
    let except = b"\x01k3f5a2bq\xac\x02\x01\x02\x017{";
    assert!(bytes.windows(except.len()).any(|window| window == except), "{bytes:?}");
    let leave = Control::Leave(Member::User("7".into()), group("a"));
    assert_eq!(control(instance(), &leave), b"\x01\x05k3f5a2bq\x00\x017\x01a");
    assert_eq!(probe(instance(), 5), b"\x01\x07k3f5a2bq\x05");
}

#[test]
fn finds_the_user_of_a_message_without_decoding_it() {
    let now = Instant::now();
    let mut publication = to(Target::User("usuaria ñ".into()), now);
    publication.deadline = Some(now + Duration::from_secs(5));
    publication.except.users = vec!["9".into()];
    let secrets = ClusterSecrets { secrets: vec![b"uno".to_vec()], require: true };
    for secrets in [ClusterSecrets::default(), secrets] {
        let codec = EnvelopeCodec::new(instance(), &secrets);
        let bytes = Bytes::from(codec.publication("groupcast:user", &publication, now));
        assert_eq!(user_of(&bytes).unwrap(), "usuaria ñ".as_bytes());
        for length in 0..bytes.len() - 20 {
            // Whatever is damaged only has another turn.
            let _ = user_of(&bytes.slice(..length));
        }
    }
    assert_eq!(user_of(&Bytes::from_static(b"{}")), None);
}

#[test]
fn reads_the_lag_that_it_writes() {
    let waits = vec![
        (Some(QueueKey::Group(group("sala_1"))), Duration::from_millis(300)),
        (Some(QueueKey::Users(63)), Duration::from_secs(2)),
        (Some(QueueKey::Instance), Duration::from_millis(151)),
        (None, Duration::from_secs(3)),
    ];
    for waits in [waits, Vec::new()] {
        let report = LagReport { salt: *b"12345678", waits };
        let written = write::lag(instance(), &report);
        let read = read_from(Origin::Questions, &written, Instant::now());
        let Ok(Decoded::From(_, Message::Lag(lag))) = read else { panic!("{read:?}") };
        assert_eq!(lag, report);
        if !lag.waits.is_empty() {
            for end in 11..written.len() - 1 {
                // A text cut off at a boundary is a shorter report; anything else is refused.
                let _ = read_from(Origin::Questions, &written[..end], Instant::now());
            }
            let flood = [&written[..], &[3, 1].repeat(100)].concat();
            let read = read_from(Origin::Questions, &flood, Instant::now());
            assert!(matches!(read, Err(EnvelopeError::Malformed("queues"))), "{read:?}");
        }
    }
}

#[test]
fn sends_ages_instead_of_timestamps() {
    let sent = Instant::now() + Duration::from_secs(100);
    let mut publication = to(Target::All, sent - Duration::from_millis(1500));
    publication.deadline = Some(sent + Duration::from_millis(700));
    let bytes = envelope_of(instance(), &publication, sent);
    // The clock that reads has nothing in common with the one that wrote.
    let here = sent + Duration::from_secs(3600);
    let read = read_publication_from(Origin::Control, &bytes, here);
    assert_eq!(read.accepted, here - Duration::from_millis(1500));
    assert_eq!(read.deadline, Some(here + Duration::from_millis(700)));
    assert_eq!(read.position, None);
}

#[test]
fn a_position_precedes_the_envelope() {
    let now = Instant::now();
    let envelope = envelope_of(instance(), &to(Target::Group(group("usuario_7")), now), now);
    let positioned = [b"\x023.k9 118\n".as_slice(), &envelope].concat();
    let position = read_publication(&positioned, now).position.unwrap();
    assert_eq!((&*position.epoch, position.offset), ("3.k9", 118));
    for broken in ["\x023.k9 118", "\x02 118\n", "\x02a\"b 1\n", "\x02a -1\n", "\x02\n", "\x02"] {
        let bytes = [broken.as_bytes(), &envelope].concat();
        assert_eq!(
            read(&bytes, now).unwrap_err(),
            EnvelopeError::Malformed("position"),
            "{broken:?}"
        );
    }
}

#[test]
fn accepts_a_bare_event_without_an_envelope() {
    let now = Instant::now();
    for text in [r#"{"type":"aviso"}"#, "  {\"type\":\"aviso\"}\n"] {
        let decoded = read(text.as_bytes(), now);
        assert!(matches!(decoded, Ok(Decoded::Bare(event)) if event.kind() == "aviso"));
    }
    assert!(matches!(read(br#"{"no":"type"}"#, now), Err(EnvelopeError::Event(_))));
    assert_eq!(read(b"hola", now).unwrap_err(), EnvelopeError::Version(b'h'));
    assert_eq!(read(b"", now).unwrap_err(), EnvelopeError::Malformed("version"));
    let large = format!(r#"{{"type":"a","x":"{}"}}"#, "x".repeat(MOST));
    assert!(matches!(read(large.as_bytes(), now), Err(EnvelopeError::TooLarge { .. })));
    // The other channels carry envelopes alone.
    for origin in [Origin::User, Origin::Instance, Origin::Control] {
        let elsewhere = read_from(origin, br#"{"type":"aviso"}"#, now);
        assert_eq!(elsewhere.unwrap_err(), EnvelopeError::Version(b'{'));
    }
}

#[test]
fn refuses_an_envelope_of_a_newer_format() {
    assert_eq!(read(b"\x04\x00", Instant::now()).unwrap_err(), EnvelopeError::Version(4));
}

#[test]
fn refuses_an_unknown_share() {
    let now = Instant::now();
    let loss = |number, of| possible_loss(instance(), &PossibleLoss::Share { number, of });
    for (number, of) in [(0, 0), (1, 1), (7, 3)] {
        let decoded = read_from(Origin::Control, &loss(number, of), now);
        assert_eq!(decoded.unwrap_err(), EnvelopeError::Malformed("share"), "{number} of {of}");
    }
    let decoded = read_from(Origin::Control, &loss(2, 3), now);
    let expected = PossibleLoss::Share { number: 2, of: 3 };
    assert!(
        matches!(decoded, Ok(Decoded::From(_, Message::PossibleLoss(loss))) if loss == expected)
    );
}

#[test]
fn a_channel_accepts_only_its_own_kinds() {
    let now = Instant::now();
    let name = group("usuario_7");
    let connection = ConnectionId { instance: instance(), serial: 1 };
    let targets = [
        Target::Group(name.clone()),
        Target::User("7".into()),
        Target::Connection(connection),
        Target::All,
    ];
    let origins =
        [Origin::Group(&name), Origin::User, Origin::Instance, Origin::Control, Origin::Commands];
    for (sent, target) in targets.into_iter().enumerate() {
        let bytes = envelope_of(instance(), &to(target, now), now);
        for (found, origin) in origins.iter().enumerate() {
            let decoded = read_from(*origin, &bytes, now);
            assert_eq!(decoded.is_ok(), sent == found, "kind {sent} on channel {found}");
        }
    }
    let user = || Member::User("7".into());
    let changes = [
        control(instance(), &Control::Join(user(), name.clone())),
        control(instance(), &Control::Leave(user(), name.clone())),
        control(instance(), &Control::Close(user(), 4403)),
        control(instance(), &Control::CloseSession("7".into(), "s".into(), 4401)),
        possible_loss(instance(), &PossibleLoss::Groups(vec![name.clone()])),
    ];
    for bytes in changes {
        assert!(read_from(Origin::Control, &bytes, now).is_ok());
        for origin in &origins[..3] {
            assert_eq!(read_from(*origin, &bytes, now).unwrap_err(), EnvelopeError::Kind(bytes[1]));
        }
    }
    // A position or a waiting time belongs to a group.
    for prefix in ["\x021.a 1\n", "\x035\n"] {
        let all = envelope_of(instance(), &to(Target::All, now), now);
        let bytes = [prefix.as_bytes(), &all].concat();
        let decoded = read_from(Origin::Control, &bytes, now);
        assert_eq!(decoded.unwrap_err(), EnvelopeError::Version(prefix.as_bytes()[0]));
    }
}

fn connection() -> impl Strategy<Value = ConnectionId> {
    (any::<[u8; 5]>(), 1..u64::MAX).prop_map(|(random, serial)| ConnectionId {
        instance: InstanceId::from_random(random),
        serial,
    })
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        Just(Target::Group(group("usuario_7"))),
        "\\PC{0,20}".prop_map(|sub| Target::User(sub.into())),
        connection().prop_map(Target::Connection),
        Just(Target::All),
    ]
}

fn member() -> impl Strategy<Value = Member> {
    prop_oneof![
        "\\PC{0,20}".prop_map(|sub| Member::User(sub.into())),
        connection().prop_map(Member::Connection),
    ]
}

proptest! {
    #[test]
    fn reads_what_it_writes(
        target in target(),
        id in any::<u128>(),
        age in 0..1_000_000_u64,
        left in proptest::option::of(0..1_000_000_u64),
        connections in proptest::collection::vec(connection(), 0..4),
        users in proptest::collection::vec("\\PC{0,9}", 0..4),
        owner in proptest::option::of("\\PC{0,9}"),
    ) {
        let now = Instant::now() + Duration::from_secs(2000);
        let name = group("usuario_7");
        let origin = origin_of(&target, &name);
        let written = Publication {
            id: PublicationId(id),
            accepted: now - Duration::from_millis(age),
            deadline: left.map(|left| now + Duration::from_millis(left)),
            except: Except {
                owner: owner.filter(|_| !connections.is_empty()).map(Into::into),
                connections,
                users: users.into_iter().map(Into::into).collect(),
            },
            ..to(target, now)
        };
        let bytes = envelope_of(instance(), &written, now);
        let read = read_publication_from(origin, &bytes, now);
        prop_assert_eq!(format!("{read:?}"), format!("{written:?}"));
    }

    #[test]
    fn reads_the_changes_that_it_writes(
        member in member(),
        (sub, session) in ("\\PC{0,9}", "\\PC{0,9}"),
        code in any::<u16>(),
        id in any::<u128>(),
        (generation, number) in (any::<u64>(), any::<u64>()),
    ) {
        for change in [
            Control::Join(member.clone(), group("a")),
            Control::Leave(member.clone(), group("a")),
            Control::Close(member.clone(), code),
            Control::CloseSession(sub.as_str().into(), session.as_str().into(), code),
        ] {
            let read = read_from(Origin::Control, &control(instance(), &change), Instant::now());
            let Ok(Decoded::From(_, Message::Command(read, None))) = read else {
                return Err(TestCaseError::fail("no change was read"));
            };
            prop_assert_eq!(&read, &change);
            let accepted = (number > 0).then_some(Stamp { generation, number });
            let mark = CommandMark { id, accepted, place: None };
            let marked = command(instance(), &change, &mark);
            let published = [&marked, &b"1700000000000000 12 11\n"[..]].concat();
            let place = Some(Stamp { generation: 1_700_000_000_000_000, number: 12 });
            for (origin, bytes, place) in
                [(Origin::Commands, marked, None), (Origin::Control, published, place)]
            {
                let read = read_from(origin, &bytes, Instant::now());
                let Ok(Decoded::From(_, Message::Command(read, Some(mark)))) = read else {
                    return Err(TestCaseError::fail("no command was read"));
                };
                prop_assert_eq!(&read, &change);
                prop_assert_eq!(mark, CommandMark { id, accepted, place });
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let name = group("usuario_7");
        for origin in [
            Origin::Group(&name),
            Origin::User,
            Origin::Instance,
            Origin::Control,
            Origin::Commands,
        ] {
            let decoded = read_from(origin, &bytes, Instant::now());
            prop_assert_ne!(decoded.err(), Some(EnvelopeError::Panic));
        }
    }

    #[test]
    fn a_damaged_envelope_never_panics(
        target in target(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let now = Instant::now();
        let name = group("usuario_7");
        let origin = origin_of(&target, &name);
        let mut bytes = envelope_of(instance(), &to(target, now), now);
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        prop_assert_ne!(read_from(origin, &bytes, now).err(), Some(EnvelopeError::Panic));
    }
}
