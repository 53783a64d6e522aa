//! Joins and leaves: which events arrive, in which order, and each once.

use std::sync::Arc;

use super::bench::Bench;
use super::fixture::{answer_to, group, member, position};
use super::peer::{Got, Peer};
use crate::event::{Control, Except, Position, Recovery, Target};
use crate::hub::PossibleGap;
use crate::hub::command::{OrderedCommand, PromptCommand};
use crate::protocol::Encoding;
use crate::socket::Overflow;

/// The numbers of the events among what a peer got.
fn numbers(got: &[Got]) -> Vec<u64> {
    let number = |got: &Got| match got {
        Got::Json(value) => value["data"]["n"].as_u64().or(value["n"].as_u64()),
        _ => None,
    };
    got.iter().filter_map(number).collect()
}

/// A recovery at `offset`, with a replay of these offsets.
fn standing_at(bench: &Bench, name: &str, offset: u64, replay: &[u64]) -> Recovery {
    let replay = replay.iter().map(|n| {
        let mut publication = bench.to_group(name, *n);
        publication.position = Some(position(*n));
        Arc::new(publication)
    });
    Recovery::complete(position(offset), &position(0), replay.collect())
}

fn publish_at(bench: &mut Bench, name: &str, offset: u64) {
    let mut publication = bench.to_group(name, offset);
    publication.position = Some(position(offset));
    bench.publish(publication);
    bench.turn();
}

#[test]
fn delivers_replay_then_held_back_then_live_publications() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &[]);
    peer.send_text(r#"{"type":"join","id":1,"groups":["g"]}"#);
    bench.turn_until("the join is asked", |bench| !bench.requests.is_empty());
    for offset in [4, 5, 6] {
        publish_at(&mut bench, "g", offset);
    }
    let join = bench.join();
    let recovery = standing_at(&bench, "g", 5, &[3, 4, 5]);
    bench.grant(join, &recovery);
    publish_at(&mut bench, "g", 7);
    assert_eq!(peer.expect("joined")["groups"][0]["offset"], 5);
    let offsets: Vec<_> = (0..5).map(|_| peer.expect("event")["offset"].clone()).collect();
    assert_eq!(offsets, [3, 4, 5, 6, 7]);
}

#[test]
fn drops_late_publications_that_the_replay_contained() {
    let mut bench = Bench::new();
    let mut first = bench.connect("1", &["g"]);
    publish_at(&mut bench, "g", 1);
    let mut peer = bench.arrive("7", Encoding::V1, &["g"]);
    let join = bench.join();
    let recovery = standing_at(&bench, "g", 3, &[2, 3]);
    bench.grant(join, &recovery);
    // The way of publications was slower than the way of the answer.
    for offset in [2, 3, 4] {
        publish_at(&mut bench, "g", offset);
    }
    peer.expect("welcome");
    let offsets: Vec<_> = (0..3).map(|_| peer.expect("event")["offset"].clone()).collect();
    assert_eq!(offsets, [2, 3, 4]);
    assert_eq!(peer.drain(), []);
    assert_eq!(numbers(&first.drain()), [1, 2, 3, 4], "who was there before misses nothing");
}

#[test]
fn the_first_member_of_a_group_receives_each_publication_once() {
    let mut bench = Bench::new();
    let mut peer = bench.arrive("7", Encoding::V1, &["g"]);
    let join = bench.join();
    let recovery = standing_at(&bench, "g", 3, &[2, 3]);
    bench.grant(join, &recovery);
    for offset in [2, 3, 4] {
        publish_at(&mut bench, "g", offset);
    }
    peer.expect("welcome");
    let offsets: Vec<_> = (0..3).map(|_| peer.expect("event")["offset"].clone()).collect();
    assert_eq!(offsets, [2, 3, 4]);
    assert_eq!(peer.drain(), []);
}

#[test]
fn replays_a_group_once_that_is_named_twice() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &[]);
    peer.send_text(r#"{"type":"join","id":1,"groups":["g","g"]}"#);
    bench.turn_until("the join is asked", |bench| !bench.requests.is_empty());
    let join = bench.join();
    let recovery = standing_at(&bench, "g", 2, &[1, 2]);
    bench.grant(join, &recovery);
    peer.expect("joined");
    assert_eq!(numbers(&peer.drain()), [1, 2]);
}

#[test]
fn a_failed_repeated_join_keeps_the_membership() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &["g"]);
    peer.send_text(r#"{"type":"join","id":1,"groups":["g"]}"#);
    bench.turn_until("the join is asked", |bench| !bench.requests.is_empty());
    let join = bench.join();
    bench.publish(bench.to_group("g", 1));
    bench.refuse(join);
    bench.publish(bench.to_group("g", 2));
    bench.turn();
    assert!(peer.expect("joined")["groups"][0]["error"].is_object());
    assert_eq!(peer.expect("event")["data"]["n"], 1);
    assert_eq!(peer.expect("event")["data"]["n"], 2);
}

#[test]
fn the_answer_to_a_cancelled_join_does_not_complete_the_next() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &[]);
    for frame in [
        r#"{"type":"join","id":1,"groups":["g"]}"#,
        r#"{"type":"leave","id":2,"groups":["g"]}"#,
        r#"{"type":"join","id":3,"groups":["g"]}"#,
    ] {
        peer.send_text(frame);
    }
    bench.turn_until("both joins are asked", |bench| bench.requests.len() >= 2);
    let (first, second) = (bench.join(), bench.join());
    bench.grant(first, &Recovery::default());
    bench.publish(bench.to_group("g", 1));
    bench.turn();
    bench.grant(second, &Recovery::default());
    assert_eq!(peer.expect("left")["id"], 2);
    let refused = peer.expect("joined");
    assert_eq!(refused["groups"][0]["error"]["code"], "not_joined", "{refused}");
    assert_eq!(peer.expect("joined")["id"], 3);
    assert_eq!(peer.expect("event")["data"]["n"], 1, "held back for the second join");
}

#[test]
fn sends_nothing_before_the_welcome() {
    let mut bench = Bench::new();
    let mut peer = bench.arrive("7", Encoding::V1, &["g", "h"]);
    let join = bench.join();
    bench.publish(bench.to_user("7", 1));
    bench.publish(bench.publication(Target::All, 2, 60));
    bench.publish(bench.publication(Target::Connection(peer.id), 3, 60));
    bench.control(Control::Leave(member(&peer), group("h")));
    bench.turn();
    bench.pass(30);
    assert_eq!(peer.drain(), []);
    bench.grant(join, &Recovery::default());
    let welcome = peer.expect("welcome");
    assert_eq!(welcome["groups"][0]["error"], serde_json::Value::Null);
    assert_eq!(welcome["groups"][1]["error"]["code"], "not_joined");
    assert_eq!(numbers(&peer.drain()), [1, 2, 3], "held back, not lost");
}

#[test]
fn a_plain_connection_survives_the_loss_of_a_group_during_admission() {
    let mut bench = Bench::new();
    let mut peer = bench.arrive_by("7", Encoding::Plain(0), &["g", "h"], false, 1);
    let join = bench.join();
    bench.control(Control::Leave(member(&peer), group("h")));
    bench.turn();
    bench.grant(join, &Recovery::default());
    bench.publish(bench.to_group("g", 1));
    bench.turn();
    peer.expect("hola");
    assert_eq!(peer.expect("n")["n"], 1);
}

#[test]
fn closes_a_plain_connection_without_its_groups_with_a_code_that_lets_it_reconnect() {
    let mut bench = Bench::new();
    let mut peer = bench.arrive_by("7", Encoding::Plain(0), &["g", "h"], false, 1);
    let join = bench.join();
    bench.answer(join, |name| match name.as_str() {
        "g" => Ok(Recovery::default()),
        _ => Err(crate::protocol::Refusal::new(crate::protocol::Code::Unavailable, "no layer")),
    });
    assert_eq!(peer.next(), Got::Close(Some(4503)));
    bench.publish(bench.to_group("g", 1));
    bench.turn();
    assert_eq!(bench.shard.connections.keys().count(), 1, "the shard goes on");
}

#[test]
fn sends_publications_accepted_before_a_leave_before_the_left() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &["g"]);
    bench.publish(bench.to_group("g", 1));
    bench.control(Control::Leave(member(&peer), group("g")));
    bench.publish(bench.to_group("g", 2));
    bench.turn();
    assert_eq!(peer.expect("event")["data"]["n"], 1);
    assert_eq!(peer.expect("left")["reason"], "backend");
    assert_eq!(peer.drain(), []);
}

#[test]
fn does_not_count_losses_of_a_group_for_the_next_one_with_its_key() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &["g"]);
    bench.publish(bench.to_group("g", 1));
    bench.control(Control::Leave(member(&peer), group("g")));
    bench.control(Control::Join(member(&peer), group("h")));
    bench.turn();
    peer.expect("event");
    assert_eq!(
        bench.shard.groups.get(bench.shard.groups.find(&group("h")).unwrap()).unwrap().sent(),
        0
    );
}

#[test]
fn a_socket_that_fails_during_a_join_answer_removes_the_last_member() {
    let mut bench = Bench::with(super::closing::tight(Overflow::DropOldest), 16);
    let peer = bench.arrive("7", Encoding::V1, &["g"]);
    let join = bench.join();
    // More than is held back, and in addition a loss in the layer.
    for n in 0..10 {
        bench.publish(bench.to_group("g", n));
    }
    let settled = Arc::default();
    bench.post_in_order(OrderedCommand::PossibleGap(PossibleGap { groups: None, settled }));
    bench.turn();
    peer.reset();
    bench.post(PromptCommand::Joined(Box::new(answer_to(join, |_| Ok(Recovery::default())))));
    // Not polled before: the shard learns of the reset by writing.
    bench.shard.take_commands();
    bench.turn();
    assert!(bench.shard.connections.is_empty());
    assert_eq!(bench.metric(r#"groupcast_dropped_total{reason="closed"}"#) as u64, 3);
}

#[test]
fn drops_events_of_an_older_generation_after_a_join_answer_of_a_newer() {
    let mut bench = Bench::new();
    let mut first = bench.connect("1", &["g"]);
    publish_at(&mut bench, "g", 7);
    first.expect("event");
    let mut peer = bench.arrive("7", Encoding::V1, &["g"]);
    let join = bench.join();
    let newer = Position { epoch: "2.1".into(), offset: 3 };
    let recovery = Recovery { position: Some(newer.clone()), ..Recovery::default() };
    bench.grant(join, &recovery);
    peer.expect("welcome");
    // The way of publications was slower than the way of the answer.
    publish_at(&mut bench, "g", 8);
    let mut publication = bench.to_group("g", 4);
    publication.position = Some(Position { offset: 4, ..newer });
    bench.publish(publication);
    publish_at(&mut bench, "g", 9);
    bench.turn();
    assert_eq!(peer.expect("event")["offset"], 4);
    assert_eq!(peer.drain(), []);
    assert_eq!(first.expect("event")["offset"], 8);
    assert_eq!(first.expect("gap")["epoch"], "2.1");
    assert_eq!(first.expect("event")["offset"], 4);
    assert_eq!(first.drain(), []);
}

/// As [`publish_at`], for all but one connection.
fn publish_except(bench: &mut Bench, name: &str, offset: u64, except: &Peer) {
    let mut publication = bench.to_group(name, offset);
    publication.position = Some(position(offset));
    publication.except = Except { connections: vec![except.id], ..Except::default() };
    bench.publish(publication);
    bench.turn();
}

#[test]
fn an_excluded_member_receives_the_position_in_place_of_the_event() {
    let mut bench = Bench::new();
    let (mut peer, mut other) = (bench.connect("7", &["g"]), bench.connect("8", &["g"]));
    publish_at(&mut bench, "g", 1);
    publish_except(&mut bench, "g", 2, &peer);
    publish_at(&mut bench, "g", 3);
    let frames: Vec<_> = (0..3).map(|_| peer.json()).collect();
    let of = |frame: &serde_json::Value| (frame["type"].clone(), frame["offset"].clone());
    let expected = [("event", 1), ("position", 2), ("event", 3)];
    assert!(frames.iter().map(of).eq(expected.map(|(kind, at)| (kind.into(), at.into()))));
    assert_eq!(frames[1]["epoch"], "1.1");
    assert_eq!(numbers(&[other.next(), other.next(), other.next()]), [1, 2, 3]);
    assert_eq!(peer.drain(), []);
}

#[test]
fn an_excluded_member_whose_join_is_pending_receives_the_position_too() {
    let mut bench = Bench::new();
    let mut peer = bench.arrive("7", Encoding::V1, &["g"]);
    for offset in [4, 6] {
        publish_except(&mut bench, "g", offset, &peer);
        publish_at(&mut bench, "g", offset + 1);
    }
    let join = bench.join();
    // The replay ends with an event that is not for it.
    let mut recovery = standing_at(&bench, "g", 4, &[3, 4]);
    let mut left_out = crate::event::Publication::clone(&recovery.replay[1]);
    left_out.except = Except { connections: vec![peer.id], ..Except::default() };
    recovery.replay[1] = Arc::new(left_out);
    bench.grant(join, &recovery);
    peer.expect("welcome");
    let frames: Vec<_> = (0..5).map(|_| peer.json()).collect();
    let of = |frame: &serde_json::Value| (frame["type"].clone(), frame["offset"].clone());
    let expected = [("event", 3), ("position", 4), ("event", 5), ("position", 6), ("event", 7)];
    assert!(
        frames.iter().map(of).eq(expected.map(|(kind, at)| (kind.into(), at.into()))),
        "{frames:?}"
    );
    assert_eq!(peer.drain(), []);
}

#[test]
fn a_connection_is_left_out_as_the_one_that_it_replaces() {
    let mut bench = Bench::new();
    let gone = bench.connect("7", &["g"]).id;
    let mut joining = Vec::new();
    for sub in ["7", "8"] {
        bench.previous = Some(gone);
        let peer = bench.arrive(sub, Encoding::V1, &["g"]);
        joining.push((peer, bench.join()));
    }
    let except = Except { connections: vec![gone], owner: Some("7".into()), ..Except::default() };
    for (peer, join) in joining {
        let mut recovery = standing_at(&bench, "g", 2, &[1, 2]);
        let mut own = crate::event::Publication::clone(&recovery.replay[0]);
        own.except = except.clone();
        recovery.replay[0] = Arc::new(own);
        bench.grant(join, &recovery);
        let mut peer = peer;
        peer.expect("welcome");
        let first = if peer.id.serial == gone.serial + 1 { "position" } else { "event" };
        assert_eq!(peer.expect(first)["offset"], 1, "a previous connection of 7 is believed to 7");
        assert_eq!(peer.expect("event")["offset"], 2);
        assert_eq!(peer.drain(), []);
    }
}

#[test]
fn notifies_a_group_of_a_possible_gap_once_until_it_has_another_event_or_member() {
    let mut bench = Bench::new();
    let mut first = bench.connect("1", &["g"]);
    let lose_twice = |bench: &mut Bench| {
        for _ in 0..2 {
            let (groups, settled) = (Some([group("g")].into()), Arc::default());
            bench.post_in_order(OrderedCommand::PossibleGap(PossibleGap { groups, settled }));
        }
    };
    lose_twice(&mut bench);
    bench.publish(bench.to_group("g", 1));
    bench.turn();
    first.expect("gap");
    first.expect("event");
    lose_twice(&mut bench);
    bench.turn();
    first.expect("gap");
    let mut second = bench.connect("2", &["g"]);
    lose_twice(&mut bench);
    bench.turn();
    first.expect("gap");
    second.expect("gap");
    bench.publish(bench.to_group("g", 2));
    bench.turn();
    first.expect("event");
    second.expect("event");
}
