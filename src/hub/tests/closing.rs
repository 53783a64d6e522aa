//! Ends of connections: nothing after a close frame, nothing lost without being counted.

use super::bench::Bench;
use super::fixture::{group, member};
use super::peer::Got;
use crate::event::{Control, Member, Stamp, Target};
use crate::group::GroupPattern;
use crate::hub::command::PromptCommand;
use crate::protocol::Encoding;
use crate::socket::{self, Limits, Overflow};

/// Bounds under which three waiting publications of a group are too many.
pub(super) fn tight(overflow: Overflow) -> socket::Settings {
    let every = GroupPattern::parse("*").unwrap();
    let limits = Limits { capacity: 3, overflow, ..Limits::default() };
    socket::Settings { group_limits: vec![(every, limits)], ..Default::default() }
}

#[test]
fn a_slow_reader_gets_a_gap_for_missed_events_to_its_own_user() {
    let mut bench = Bench::new();
    let mut peer = bench.connect_narrow("7", &[]);
    let published = 1500;
    for n in 1..=published {
        bench.publish(bench.publication(Target::User("7".into()), n, 4000));
        bench.turn();
    }
    let (mut seen, mut lost) = (0, 0);
    while seen + lost < published {
        bench.turn();
        for got in peer.drain() {
            let Got::Json(frame) = got else { panic!("{got:?}") };
            match frame["type"].as_str().unwrap() {
                "event" => seen += 1,
                "gap" => {
                    assert_eq!(frame.get("group"), None, "{frame}");
                    lost += frame["lost"].as_u64().unwrap();
                }
                other => panic!("{other}"),
            }
        }
    }
    assert!(lost > 0 && seen > 0, "{seen} seen, {lost} lost");
    assert_eq!(bench.metric(r#"groupcast_dropped_total{reason="bytes"}"#) as u64, lost);
}

#[test]
fn a_connection_closed_for_slowness_receives_its_close_frame_last() {
    let mut bench = Bench::with(tight(Overflow::Close), 16);
    let mut peer = bench.connect_narrow("7", &["g"]);
    for n in 0..100 {
        bench.publish(bench.publication(Target::Group(group("g")), n, 2000));
        bench.turn();
    }
    let mut got = Vec::new();
    bench.turn_until("the end", |_| {
        got.extend(peer.drain());
        got.last() == Some(&Got::End)
    });
    assert_eq!(got[got.len() - 2], Got::Close(Some(4508)));
    let events = got.len() as u64 - 2;
    let dropped = bench.metric(r#"groupcast_dropped_total{reason="closed"}"#) as u64;
    assert!(dropped > 0 && events + dropped < 100, "{events} came, {dropped} did not");
}

#[test]
fn a_leave_that_closes_a_slow_connection_sends_nothing_after_the_close() {
    let mut bench = Bench::with(tight(Overflow::Close), 16);
    let mut peer = bench.connect_narrow("7", &["g"]);
    while !bench.shard.connections[0].socket.has_waiting() {
        bench.publish(bench.publication(Target::Group(group("g")), 0, 2000));
        bench.turn();
    }
    for n in 0..5 {
        bench.publish(bench.publication(Target::Group(group("g")), n, 2000));
    }
    bench.control(Control::Leave(member(&peer), group("g")));
    bench.turn();
    let mut got = Vec::new();
    bench.turn_until("the end", |_| {
        got.extend(peer.drain());
        got.last() == Some(&Got::End)
    });
    assert_eq!(got[got.len() - 2], Got::Close(Some(4508)), "{:?}", &got[got.len() - 3..]);
}

#[test]
fn counts_publications_of_a_connection_closed_in_the_same_turn() {
    let mut bench = Bench::new();
    let peer = bench.connect("7", &["g"]);
    bench.publish(bench.to_group("g", 1));
    bench.publish(bench.to_user("7", 2));
    bench.control(Control::Close(member(&peer), 4409));
    bench.turn();
    let delivered = bench.metric("groupcast_deliveries_total");
    let closed = bench.metric(r#"groupcast_dropped_total{reason="closed"}"#);
    assert_eq!(delivered + closed, 2.0, "{delivered} delivered, {closed} counted");
}

#[test]
fn answers_the_close_of_a_peer_that_sends_nothing_more() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &["g"]);
    peer.close();
    peer.shut_down();
    bench.turn_until("the connection has ended", |bench| bench.shard.connections.is_empty());
    assert_eq!(peer.next(), Got::Close(Some(1000)));
    assert_eq!(peer.next(), Got::End);
}

#[test]
fn a_closing_connection_ends_with_its_peer_although_a_request_is_pending() {
    let mut bench = Bench::new();
    let mut peer = bench.arrive("7", Encoding::Plain(0), &[]);
    bench.grant_all();
    peer.send_text(r#"{"type":"marcar"}"#);
    bench.turn_until("the call is asked", |bench| !bench.requests.is_empty());
    bench.control(Control::Close(member(&peer), 4409));
    bench.turn();
    assert_eq!(peer.next(), Got::Close(Some(4409)));
    peer.close();
    bench.turn_until("the connection has ended", |bench| bench.shard.connections.is_empty());
}

#[test]
fn counts_every_connection_out_however_it_ends() {
    let mut bench = Bench::new();
    let mut peers: Vec<_> = (0..4).map(|_| bench.connect("7", &["g"])).collect();
    bench.control(Control::Close(member(&peers[0]), 4409));
    peers[1].close();
    drop(peers.pop());
    bench.control(Control::Close(member(&peers[2]), 4403));
    bench.turn();
    for peer in &mut peers {
        peer.shut_down();
    }
    bench.turn_until("all connections have ended", |bench| bench.shard.connections.is_empty());
    bench.turn();
    let sub = "7".into();
    assert!(bench.registry.enter(&sub, 1), "no connection of the user is left");
    assert_eq!(bench.metric(r#"groupcast_connections{protocol="v1"}"#), 0.0);
    assert_eq!(bench.handle.load.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn a_draining_shard_ends_after_its_last_connection_and_closes_new_ones() {
    let mut bench = Bench::new();
    let mut peers: Vec<_> = (0..10).map(|_| bench.connect("7", &["g"])).collect();
    let (window, grace) = (std::time::Duration::from_secs(1), std::time::Duration::from_secs(20));
    bench.post(PromptCommand::Drain { rate: 4, window, grace });
    peers.push(bench.arrive("7", Encoding::V1, &[]));
    assert_eq!(peers[10].next(), Got::Close(Some(4503)));
    bench.pass(3);
    for peer in &mut peers[..10] {
        assert_eq!(peer.next(), Got::Close(Some(4503)));
    }
    assert!(!bench.shard.is_done());
    drop(peers);
    bench.turn_until("all connections have ended", |bench| bench.shard.is_done());
}

#[test]
fn a_draining_shard_ends_at_its_deadline() {
    let mut bench = Bench::new();
    let _silent = bench.connect("7", &["g"]);
    let grace = std::time::Duration::from_secs(3);
    bench.post(PromptCommand::Drain { rate: 1, window: grace, grace });
    bench.pass(2);
    assert!(!bench.shard.is_done());
    bench.pass(2);
    assert!(bench.shard.is_done());
}

#[test]
fn a_command_concerns_only_connections_that_are_older() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &["g"]);
    let stamp = |generation, number| Some(Stamp { generation, number });
    let user = || Member::User("7".into());
    for late in [stamp(1, 4), stamp(1, 5), stamp(0, 9)] {
        bench.control_stamped(Control::Close(user(), 4403), late);
        bench.control_stamped(Control::CloseSession("7".into(), "s".into(), 4403), late);
        bench.control_stamped(Control::Leave(user(), group("g")), late);
        bench.control_stamped(Control::Join(user(), group("h")), late);
    }
    bench.publish(bench.to_group("g", 1));
    bench.turn();
    assert!(matches!(peer.next(), Got::Json(frame) if frame["type"] == "event"), "a member still");
    bench.control_stamped(Control::Close(user(), 4403), stamp(1, 6));
    bench.turn();
    assert_eq!(peer.next(), Got::Close(Some(4403)));
}

#[test]
fn closes_everybody_with_a_window_to_come_back_in() {
    let mut bench = Bench::new();
    let mut peers = [bench.connect("7", &["g"]), bench.connect("8", &[])];
    bench.close_all();
    bench.turn();
    for peer in &mut peers {
        assert_eq!(peer.next(), Got::Close(Some(4503)));
    }
    let mut later = bench.connect("7", &["g"]);
    bench.publish(bench.to_group("g", 1));
    bench.turn();
    assert!(matches!(later.next(), Got::Json(_)));
}
