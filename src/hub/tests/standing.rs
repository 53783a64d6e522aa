//! What a join of a group that is already held answers while events wait for the client.

use serde_json::{Value, json};

use super::bench::Bench;
use super::fixture::{group, position};
use super::peer::{Got, Peer};
use crate::event::{Position, Recovery, Target};
use crate::protocol::Encoding;

/// Publishes at `at`: large, so that few fill a socket.
fn publish(bench: &mut Bench, at: Position) {
    let target = Target::Group(group("g"));
    let publication = bench.publication(target, at.offset, 4000);
    bench.publish(crate::event::Publication { position: Some(at), ..publication });
}

/// The client joins the group that it holds; the layer is at `newest`.
fn join_again(bench: &mut Bench, peer: &mut Peer, newest: Position) {
    peer.send_text(r#"{"type":"join","id":1,"groups":["g"]}"#);
    bench.turn_until("the join", |bench| !bench.requests.is_empty());
    let join = bench.join();
    // In the same turn as the answer.
    publish(bench, Position { offset: newest.offset + 1, ..newest.clone() });
    bench.grant(join, &Recovery { position: Some(newest), ..Recovery::default() });
}

/// Reads as a client does that believes every answer, up to the event at `last`.
fn follow(bench: &mut Bench, peer: &mut Peer, mut at: Position, last: &Position) {
    let place = |frame: &Value, offset: &str| Position {
        epoch: frame["epoch"].as_str().unwrap().into(),
        offset: frame[offset].as_u64().unwrap_or_default(),
    };
    let mut answers = 0;
    bench.turn_until("the last event", |_| {
        for got in peer.drain() {
            let Got::Json(frame) = got else { panic!("{got:?}") };
            match frame["type"].as_str().unwrap() {
                "event" => {
                    assert_eq!(frame["offset"], json!(at.offset + 1), "the client is at {at:?}");
                    at.offset += 1;
                }
                "gap" => at = place(&frame, "to"),
                "joined" => {
                    assert_eq!(place(&frame["groups"][0], "offset"), at, "the answer");
                    answers += 1;
                }
                other => panic!("{other}"),
            }
        }
        at == *last
    });
    assert_eq!(answers, 1);
}

#[test]
fn a_join_of_a_held_group_answers_where_the_client_is_and_not_where_the_group_is() {
    let mut bench = Bench::new();
    let mut peer = bench.connect_narrow("7", &["g"]);
    let mut last = 0;
    while !bench.shard.connections[0].socket.has_waiting() || last % 5 != 0 {
        last += 1;
        publish(&mut bench, position(last));
        bench.turn();
    }
    join_again(&mut bench, &mut peer, position(last));
    follow(&mut bench, &mut peer, position(0), &position(last + 1));
}

#[test]
fn an_event_of_an_old_epoch_does_not_follow_an_answer_of_the_new_one() {
    let mut bench = Bench::new();
    let mut peer = bench.connect_narrow("7", &["g"]);
    let mut last = 0;
    while !bench.shard.connections[0].socket.has_waiting() || last % 5 != 0 {
        last += 1;
        publish(&mut bench, position(last));
        bench.turn();
    }
    let new = |offset| Position { epoch: "2.1".into(), offset };
    for offset in 1..=3 {
        publish(&mut bench, new(offset));
    }
    bench.turn();
    join_again(&mut bench, &mut peer, new(3));
    // What the pipeline still holds of the old epoch is old news.
    publish(&mut bench, position(last + 1));
    follow(&mut bench, &mut peer, position(0), &new(4));
    bench.turn();
    assert_eq!(peer.drain(), []);
}

/// Before any publication of the group.
fn before_any() -> Position {
    Position { epoch: "1.0.1700000000".into(), offset: 0 }
}

/// A client whose join is answered with `recovery`, before which `early` is published.
fn joined(bench: &mut Bench, recovery: Recovery, early: &[Position]) -> Peer {
    let mut peer = bench.arrive("7", Encoding::V1, &["g"]);
    let join = bench.join();
    for at in early {
        publish(bench, at.clone());
    }
    bench.turn();
    bench.grant(join, &recovery);
    bench.turn();
    peer.expect("welcome");
    peer
}

#[test]
fn the_first_publication_of_a_group_is_no_gap() {
    for early in [&[][..], &[position(1), position(2)]] {
        let mut bench = Bench::new();
        let recovery = Recovery { position: Some(before_any()), ..Recovery::default() };
        let mut peer = joined(&mut bench, recovery, early);
        for offset in 1..=3 {
            if !early.contains(&position(offset)) {
                publish(&mut bench, position(offset));
                bench.turn();
            }
            assert_eq!(peer.expect("event")["offset"], json!(offset));
        }
    }
}

#[test]
fn what_is_lost_of_the_first_epoch_is_a_gap_with_its_number() {
    let mut bench = Bench::new();
    let recovery = Recovery { position: Some(before_any()), ..Recovery::default() };
    let mut peer = joined(&mut bench, recovery, &[]);
    publish(&mut bench, position(3));
    bench.turn();
    let gap = peer.expect("gap");
    assert_eq!(
        (&gap["lost"], &gap["from"], &gap["to"]),
        (&json!(2), &json!(1), &json!(2)),
        "{gap}"
    );
    assert_eq!(peer.expect("event")["offset"], json!(3));
}

#[test]
fn a_replay_from_before_the_first_publication_has_the_epoch_that_the_client_knows() {
    let mut bench = Bench::new();
    let replay = [1, 2].map(|offset| {
        let publication = bench.publication(Target::Group(group("g")), offset, 10);
        let position = Some(position(offset));
        std::sync::Arc::new(crate::event::Publication { position, ..publication })
    });
    let recovery = Recovery::complete(position(2), &before_any(), replay.to_vec());
    let mut peer = bench.arrive("7", Encoding::V1, &["g"]);
    let join = bench.join();
    bench.grant(join, &recovery);
    bench.turn();
    let standing = &peer.expect("welcome")["groups"][0];
    assert_eq!(standing["epoch"], json!(&*before_any().epoch), "as the client knows it");
    assert_eq!((&standing["offset"], &standing["recovered"]), (&json!(2), &json!(true)));
    for offset in 1..=2 {
        assert_eq!(peer.expect("event")["offset"], json!(offset));
    }
}
