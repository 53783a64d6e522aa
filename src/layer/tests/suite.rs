//! Behaviour of every layer.

use std::collections::{HashMap, VecDeque};

use super::*;
use crate::event::Member;

/// Runs each behaviour on each layer.
macro_rules! on_both {
    ($($(#[$doc:meta])* $name:ident;)+) => {
        mod memory {
            $($(#[$doc])* #[tokio::test]
            async fn $name() {
                super::$name(super::LayerKind::memory()).await;
            })+
        }

        mod redis {
            $($(#[$doc])* #[tokio::test]
            async fn $name() {
                super::$name(super::LayerKind::Redis(super::RedisServer::start())).await;
            })+
        }
    };
}

pub(super) use on_both;

on_both! {
    delivers_a_publication_to_every_subscribed_instance;
    delivers_nothing_of_a_group_that_is_not_subscribed;
    keeps_the_order_of_one_sender;
    keeps_the_order_of_a_batch_and_numbers_it;
    delivers_a_batch_of_large_publications_completely;
    delivers_to_other_targets_without_a_subscription;
    delivers_changes_to_every_instance;
    delivers_id_exclusions_age_and_deadline_with_a_publication;
    does_not_recover_a_position_without_history;
    gives_a_position_before_any_publication;
    recovers_from_a_position_before_any_publication;
    trusts_no_position_before_any_publication_of_another_life;
    numbers_publications_of_a_history_equally_for_all;
    replays_missed_publications_completely_or_not_at_all;
    does_not_replay_expired_publications;
    numbers_concurrent_publishers_in_one_order;
}

async fn delivers_a_publication_to_every_subscribed_instance(kind: LayerKind) {
    let (mut one, mut two) = (kind.instance().await, kind.instance().await);
    one.subscribe(&["sala_1"]).await;
    two.subscribe(&["sala_1", "sala_2"]).await;
    one.send("sala_1", "a").await;
    one.send("sala_2", "b").await;
    assert_eq!(one.next_text().await, event_text("a"), "its own publications too");
    assert_eq!(two.next_text().await, event_text("a"));
    assert_eq!(two.next_text().await, event_text("b"));
}

async fn delivers_nothing_of_a_group_that_is_not_subscribed(kind: LayerKind) {
    let mut one = kind.instance().await;
    one.subscribe(&["sala_1", "sala_2"]).await;
    one.layer.unsubscribe(&[group("sala_1")]).await.unwrap();
    one.subscribe(&["sala_3"]).await;
    for name in ["sala_1", "sala_10", "sala_2"] {
        one.send(name, name).await;
    }
    assert_eq!(one.next_text().await, event_text("sala_2"));
}

async fn keeps_the_order_of_one_sender(kind: LayerKind) {
    let (one, mut two) = (kind.instance().await, kind.instance().await);
    two.subscribe(&["a", "b"]).await;
    for n in 0..300 {
        one.send(if n % 2 == 0 { "a" } else { "b" }, &n.to_string()).await;
    }
    // Each group's are in order; between groups there is none.
    let mut next = [0, 1];
    for _ in 0..300 {
        let arrived = two.next_publication().await;
        let own = usize::from(arrived.target == Target::Group(group("b")));
        assert_eq!(text_of(&arrived), event_text(&next[own].to_string()));
        next[own] += 2;
    }
}

async fn keeps_the_order_of_a_batch_and_numbers_it(kind: LayerKind) {
    let (one, mut two) = (kind.instance().await, kind.instance().await);
    two.subscribe(&["sala_1", "pedido.42", "pedido.43"]).await;
    one.send("pedido.43", "antes").await;
    assert_eq!(two.next_text().await, event_text("antes"));
    // More than fit in one script over Redis, with and without history alternately and in runs.
    let target = |n: usize| match n {
        400..600 | 700..750 => Target::Group(group("pedido.42")),
        n if n % 7 == 1 => Target::Group(group("pedido.43")),
        n if n % 11 == 0 => Target::User("7".into()),
        n if n % 13 == 0 => Target::Group(group("nadie")),
        _ => Target::Group(group("sala_1")),
    };
    let (mut of_42, mut of_43) = (0, 1);
    for count in [1000, 2, 1, 0] {
        let publications: Vec<_> = (0..count).map(|n| to(target(n), &n.to_string())).collect();
        let mut positions = Vec::new();
        let taken = |position| positions.push(position);
        one.layer.publish_many(publications.clone(), taken).await.unwrap();
        assert_eq!(positions.len(), count);
        let mut to_arrive: HashMap<_, VecDeque<_>> = HashMap::new();
        for (sent, position) in publications.iter().zip(positions) {
            let offset = position.as_ref().map(|position| position.offset);
            let expected = match &sent.target {
                Target::Group(name) if name.as_str() == "pedido.42" => Some(&mut of_42),
                Target::Group(name) if name.as_str() == "pedido.43" => Some(&mut of_43),
                _ => None,
            };
            let expected = expected.map(|newest: &mut u64| {
                *newest += 1;
                *newest
            });
            assert_eq!(offset, expected, "{:?}", sent.target);
            if sent.target == Target::Group(group("nadie")) {
                continue;
            }
            to_arrive.entry(&sent.target).or_default().push_back((sent, position));
        }
        for _ in 0..to_arrive.values().map(VecDeque::len).sum() {
            let arrived = two.next_publication().await;
            let of_target = to_arrive.get_mut(&arrived.target);
            let (sent, position) = of_target.and_then(VecDeque::pop_front).expect("it was sent");
            assert_eq!((arrived.id, &arrived.target), (sent.id, &sent.target));
            assert_eq!((&arrived.event, &arrived.position), (&sent.event, &position));
        }
    }
}

async fn delivers_a_batch_of_large_publications_completely(kind: LayerKind) {
    let (one, mut two) = (kind.instance().await, kind.instance().await);
    two.subscribe(&["sala_1"]).await;
    let large = |n: usize| {
        let json = format!(r#"{{"type":"a","n":{n},"x":"{}"}}"#, "x".repeat(60_000));
        let event = Event::parse(Bytes::from(json)).unwrap();
        Publication { event, ..to(Target::Group(group("sala_1")), "a") }
    };
    let publications: Vec<_> = (0..20).map(large).collect();
    let mut taken = 0;
    one.layer.publish_many(publications.clone(), |_| taken += 1).await.unwrap();
    assert_eq!(taken, 20);
    for sent in &publications {
        assert!(two.next_publication().await.event == sent.event);
    }
}

async fn delivers_to_other_targets_without_a_subscription(kind: LayerKind) {
    let (mut one, mut two) = (kind.instance().await, kind.instance().await);
    let there = ConnectionId { instance: two.id, serial: 7 };
    for target in [Target::User("7".into()), Target::All, Target::Connection(there)] {
        one.layer.publish(to(target.clone(), "a")).await.unwrap();
        assert_eq!(two.next_publication().await.target, target);
        if target != Target::Connection(there) {
            assert_eq!(one.next_publication().await.target, target);
        }
    }
}

async fn delivers_changes_to_every_instance(kind: LayerKind) {
    let (mut one, mut two) = (kind.instance().await, kind.instance().await);
    let changes = [
        Control::Join(Member::User("7".into()), group("sala_1")),
        Control::Leave(Member::User("7".into()), group("sala_1")),
        Control::Close(Member::Connection(ConnectionId { instance: one.id, serial: 9 }), 4403),
    ];
    for change in changes {
        one.layer.control(change.clone()).await.unwrap();
        for instance in [&mut one, &mut two] {
            let Incoming::Control(arrived, _) = instance.next().await else {
                panic!("a change arrives")
            };
            assert_eq!(arrived, change);
        }
    }
}

async fn delivers_id_exclusions_age_and_deadline_with_a_publication(kind: LayerKind) {
    let (one, mut two) = (kind.instance().await, kind.instance().await);
    two.subscribe(&["sala_1"]).await;
    let mut sent = to(Target::Group(group("sala_1")), "a");
    sent.accepted -= Duration::from_secs(3);
    sent.deadline = Some(sent.accepted + Duration::from_secs(30));
    sent.except.users = vec!["7".into()];
    one.layer.publish(sent.clone()).await.unwrap();
    let arrived = two.next_publication().await;
    assert_eq!((arrived.id, &arrived.except), (sent.id, &sent.except));
    // Within what the way takes, and the rounding to milliseconds.
    let off = |a: std::time::Instant, b: std::time::Instant| {
        a.saturating_duration_since(b).max(b.saturating_duration_since(a))
    };
    assert!(off(arrived.accepted, sent.accepted) < Duration::from_secs(1));
    assert!(off(arrived.deadline.unwrap(), sent.deadline.unwrap()) < Duration::from_secs(1));
}

async fn does_not_recover_a_position_without_history(kind: LayerKind) {
    let one = kind.instance().await;
    one.subscribe(&["sala_1"]).await;
    let since = Position { epoch: "1.a".into(), offset: 3 };
    let asked = [(group("sala_1"), None), (group("sala_1"), Some(since))];
    let answers = one.layer.recover(&asked).await.unwrap();
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        answers.iter().map(|answer| answer.recovered).collect::<Vec<_>>(),
        [None, Some(false)]
    );
    assert!(answers.iter().all(|answer| answer.position.is_none() && answer.replay.is_empty()));
}

async fn standing(instance: &Instance, name: &str, since: Option<Position>) -> Recovery {
    let asked = [(group(name), since)];
    instance.layer.recover(&asked).await.unwrap().remove(0).unwrap()
}

async fn gives_a_position_before_any_publication(kind: LayerKind) {
    let (one, mut two) = (kind.instance().await, kind.instance().await);
    two.subscribe(&["pedido.42"]).await;
    let before = standing(&one, "pedido.42", None).await;
    let position = before.position.clone().unwrap();
    assert_eq!((position.offset, before.recovered), (0, None));
    one.send("pedido.42", "a").await;
    let first = two.next_publication().await.position.clone().unwrap();
    assert_eq!(first.offset, 1);
    assert!(position.is_before_first_of(&first), "{position:?} {first:?}");
    assert!(!first.is_covered_by(&position) && position.is_covered_by(&first));
}

async fn recovers_from_a_position_before_any_publication(kind: LayerKind) {
    let one = kind.instance().await;
    let start = standing(&one, "pedido.42", None).await.position;
    let again = standing(&one, "pedido.42", start.clone()).await;
    assert_eq!((again.recovered, again.replay.len()), (Some(true), 0), "nothing was published");
    assert_eq!((again.position, again.known_as), (start.clone(), None));
    for (sent, whole) in [(3, true), (5, true), (6, false)] {
        while standing(&one, "pedido.42", None).await.position.unwrap().offset < sent {
            one.send("pedido.42", "a").await;
        }
        let answer = standing(&one, "pedido.42", start.clone()).await;
        assert_eq!((answer.recovered, answer.position.unwrap().offset), (Some(whole), sent));
        let offsets = answer.replay.iter().map(|p| p.position.clone().unwrap().offset);
        assert!(offsets.eq(1..=if whole { sent } else { 0 }), "five are kept");
        assert_eq!(answer.known_as, start.clone().filter(|_| whole));
    }
    // For the client it is the epoch that it knows.
    let on = start.map(|start| Position { offset: 4, ..start });
    let answer = standing(&one, "pedido.42", on.clone()).await;
    assert_eq!((answer.recovered, answer.replay.len(), answer.known_as), (Some(true), 2, on));
}

async fn trusts_no_position_before_any_publication_of_another_life(kind: LayerKind) {
    let one = kind.instance().await;
    let start = standing(&one, "pedido.42", None).await.position.unwrap();
    let (rest, second) = start.epoch.rsplit_once('.').unwrap();
    let second: u64 = second.parse().unwrap();
    let (generation, _) = rest.split_once('.').unwrap();
    let numbered_for = 24 * 3600 + 60;
    for epoch in [
        format!("{rest}.{}", second - numbered_for),
        format!("1{generation}.0.{second}"),
        format!("{generation}.1.{second}"),
        format!("{generation}.0."),
        format!("{generation}.0.{second}.0"),
    ] {
        let since = Position { epoch: epoch.as_str().into(), offset: 0 };
        let answer = standing(&one, "pedido.42", Some(since)).await;
        assert_eq!((answer.recovered, answer.replay.len()), (Some(false), 0), "{epoch}");
    }
    let ahead = Position { offset: 1, ..start };
    assert_eq!(standing(&one, "pedido.42", Some(ahead)).await.recovered, Some(false));
}

async fn numbers_publications_of_a_history_equally_for_all(kind: LayerKind) {
    let (mut one, mut two) = (kind.instance().await, kind.instance().await);
    for instance in [&one, &two] {
        instance.subscribe(&["pedido.42", "pedido.43"]).await;
    }
    for n in 1..=3 {
        let sent = to(Target::Group(group("pedido.42")), "a");
        let position = two.layer.publish(sent).await.unwrap().unwrap();
        assert_eq!(position.offset, n);
        for instance in [&mut one, &mut two] {
            assert_eq!(instance.next_publication().await.position.as_ref(), Some(&position));
        }
    }
    let other = one.layer.publish(to(Target::Group(group("pedido.43")), "a")).await.unwrap();
    assert_eq!(other.unwrap().offset, 1, "each group has its own numbers");
}

async fn replays_missed_publications_completely_or_not_at_all(kind: LayerKind) {
    let one = kind.instance().await;
    for n in 1..=8 {
        let mut sent = to(Target::Group(group("pedido.42")), &n.to_string());
        sent.except.users = vec!["9".into()];
        sent.except.owner = Some("7".into());
        sent.except.connections = vec![ConnectionId { instance: one.id, serial: 3 }];
        sent.deadline = Some(sent.accepted + LONG);
        one.layer.publish(sent).await.unwrap();
    }
    let newest = standing(&one, "pedido.42", None).await.position.unwrap();
    let at = |offset| Some(Position { offset, ..newest.clone() });
    // The newest five are kept: 4 to 8.
    for since in 0..=9 {
        let answer = standing(&one, "pedido.42", at(since)).await;
        assert_eq!(answer.position, at(8));
        let whole = (3..=8).contains(&since);
        assert_eq!(answer.recovered, Some(whole), "since {since}");
        let expected = if whole { since + 1..9 } else { 0..0 };
        let offsets = answer.replay.iter().map(|p| p.position.clone().unwrap().offset);
        assert!(offsets.eq(expected.clone()), "since {since}");
        let texts = answer.replay.iter().map(|p| text_of(p));
        assert!(texts.eq(expected.map(|n| event_text(&n.to_string()))), "since {since}");
        assert!(answer.replay.iter().all(|p| *p.except.users[0] == *"9" && p.deadline.is_some()));
        let before = ConnectionId { instance: one.id, serial: 3 };
        assert!(answer.replay.iter().all(|p| p.except.holds_previous(before, "7")));
        assert!(!answer.replay.iter().any(|p| p.except.holds_previous(before, "8")));
    }
    let elsewhere = Position { epoch: "0.otra".into(), offset: 8 };
    assert_eq!(standing(&one, "pedido.42", Some(elsewhere)).await.recovered, Some(false));
}

async fn does_not_replay_expired_publications(kind: LayerKind) {
    let one = kind.instance().await;
    one.send("breve.1", "a").await;
    let newest = standing(&one, "breve.1", None).await.position.unwrap();
    let start = Some(Position { offset: 0, ..newest.clone() });
    let deadline = Instant::now() + LONG;
    while standing(&one, "breve.1", start.clone()).await.recovered == Some(true) {
        assert!(Instant::now() < deadline, "50 ms pass");
    }
    let answer = standing(&one, "breve.1", start.clone()).await;
    assert_eq!(answer.position.as_ref(), Some(&newest), "the numbering goes on");
    assert_eq!(standing(&one, "breve.1", Some(newest)).await.recovered, Some(true));
}

async fn numbers_concurrent_publishers_in_one_order(kind: LayerKind) {
    let (one, two) = (kind.instance().await, kind.instance().await);
    let mut three = kind.instance().await;
    three.subscribe(&["pedido.42"]).await;
    let publish = async |instance: &Instance| {
        for _ in 0..100 {
            instance.send("pedido.42", "a").await;
        }
    };
    let arrive = async {
        for n in 1..=200 {
            assert_eq!(three.next_publication().await.position.clone().unwrap().offset, n);
        }
    };
    tokio::join!(publish(&one), publish(&two), arrive);
}
