//! What a join of a group that is already held answers while events wait for the client.

use serde_json::{Value, json};

use super::bench::Bench;
use super::fixture::{group, position};
use super::peer::{Got, Peer};
use crate::event::{Position, Recovery, Target};

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
