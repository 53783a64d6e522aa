//! Reading from edge-triggered sockets: queued input is processed in order, without sleeping.

use std::time::Duration;

use mio::Events;

use super::bench::Bench;
use super::bench::Requested;
use super::fixture::{group, member};
use super::peer::masked;
use crate::event::{Control, Recovery};
use crate::hub::RequestKind;
use crate::hub::store::InFlight;
use crate::protocol::Encoding;
use crate::socket;

/// A `send` of this number, about `size` bytes long.
fn send_frame(id: u64, size: usize) -> String {
    let pad = "x".repeat(size);
    format!(r#"{{"type":"send","id":{id},"group":"g","data":{{"type":"a","pad":"{pad}"}}}}"#)
}

/// The ids of the sends that wait to be served.
fn sends(bench: &mut Bench) -> Vec<u64> {
    let mut ids = Vec::new();
    while let Some(request) = bench.requests.try_recv() {
        if let Requested::Send(send) = request {
            ids.push(send.id);
        }
    }
    ids
}

#[test]
fn reads_a_long_input_to_its_end_without_sleeping() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &[]);
    let wave: Vec<u8> =
        (1..=15).flat_map(|id| masked(0x81, send_frame(id, 16_000).as_bytes())).collect();
    peer.send(&wave);
    let mut ids = Vec::new();
    bench.turn_until("all is read", |bench| {
        ids.extend(sends(bench));
        // What was left unread is announced by no event: the shard must not sleep on it.
        let left = bench.shard.connections[0].socket.is_readable();
        assert!(
            !left || bench.shard.longest_sleep() == Duration::ZERO,
            "a sleep with {} read",
            ids.len()
        );
        ids.len() == 15
    });
    assert_eq!(ids, (1..=15).collect::<Vec<_>>());
}

#[test]
fn writes_answers_given_late_in_a_turn_in_the_same_turn() {
    let mut bench = Bench::new();
    let mut peer = bench.arrive("7", Encoding::V1, &["g"]);
    // Sent before the welcome, handled at the end of the turn that sends it.
    peer.send_text(r#"{"type":"leave","id":1,"groups":["g"]}"#);
    bench.turn_until("it is there", |bench| bench.shard.connections[0].socket.is_readable());
    let join = bench.join();
    bench.grant(join, &Recovery::default());
    peer.expect("welcome");
    assert_eq!(peer.expect("left")["id"], 1);
    // A ping, too, leaves at its second.
    bench.pass(26);
    peer.expect("ping");
}

#[test]
fn handles_buffered_input_before_newer_input() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &[]);
    // 16 sends may be in flight; the rest of the same read waits.
    let wave: Vec<u8> =
        (1..=20).flat_map(|id| masked(0x81, send_frame(id, 10).as_bytes())).collect();
    peer.send(&wave);
    let mut ids = Vec::new();
    bench.turn_until("16 are asked", |bench| {
        ids.extend(sends(bench));
        ids.len() == 16
    });
    bench.answered(peer.id, RequestKind::Send);
    bench.shard.take_commands();
    // New input is reported before the shard comes to what waits: as between slices of a batch.
    peer.send_text(&send_frame(21, 10));
    let mut events = Events::with_capacity(8);
    while events.is_empty() {
        bench.shard.poll_sockets(&mut events, Duration::from_millis(10));
    }
    bench.shard.take_events(&events);
    bench.turn();
    for _ in 0..20 {
        bench.answered(peer.id, RequestKind::Send);
        bench.turn();
    }
    ids.extend(sends(&mut bench));
    assert_eq!(ids, (1..=21).collect::<Vec<_>>());
}

#[test]
fn stops_reading_while_a_request_finds_no_room() {
    let mut bench = Bench::with(socket::Settings::default(), 2);
    let mut peer = bench.connect("7", &[]);
    for id in 1..=10 {
        peer.send_text(&send_frame(id, 10));
    }
    let mut ids = Vec::new();
    bench.turn_until("all are asked", |bench| {
        assert!(bench.requests.len() <= 2);
        ids.extend(sends(bench));
        ids.len() == 10
    });
    assert_eq!(ids, (1..=10).collect::<Vec<_>>());
    assert_eq!(bench.shard.connections[0].in_flight, InFlight::Many { calls: 0, others: 10 });
}

#[test]
fn sends_the_calls_of_a_plain_client_one_at_a_time() {
    let mut bench = Bench::new();
    let mut peer = bench.arrive("7", Encoding::Plain(0), &[]);
    bench.grant_all();
    peer.send_text(r#"{"type":"uno"}"#);
    peer.send_text(r#"{"type":"dos"}"#);
    bench.turn_until("the first call is asked", |bench| !bench.requests.is_empty());
    let Some(Requested::Call(call)) = bench.requests.try_recv() else { panic!("no call") };
    assert_eq!(&*call.name, "uno");
    bench.control(Control::Join(member(&peer), group("g")));
    bench.turn();
    let join = bench.join();
    bench.grant(join, &Recovery::default());
    bench.turn();
    assert!(bench.requests.is_empty(), "the first call is not answered");
    bench.answered(peer.id, RequestKind::Call);
    bench.turn();
    let Some(Requested::Call(call)) = bench.requests.try_recv() else { panic!("no second call") };
    assert_eq!(&*call.name, "dos");
}

#[test]
fn closes_a_connection_that_sends_too_many_frames() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &[]);
    for _ in 0..201 {
        peer.send_text(r#"{"type":"pong"}"#);
    }
    bench.turn_until("the shard has had enough", |bench| !bench.shard.connections[0].is_open());
    assert_eq!(peer.next(), super::peer::Got::Close(Some(4529)));
}
