//! Overload of a shard, a reader or a user does not affect others.

use super::bench::{Bench, Requested};
use super::fixture::member;
use super::peer::Got;
use crate::event::{Control, Target};
use crate::hub::command::OrderedCommand;
use crate::protocol::Encoding;

#[test]
fn admissions_do_not_wait_for_publications() {
    let mut bench = Bench::new();
    let _member = bench.connect("7", &["hot"]);
    // The lane of publications is full, and one turn does not empty it.
    while bench.handle.inbox.try_send(hot(&bench)).is_ok() {}
    let mut peer = bench.arrive("8", Encoding::V1, &["cold"]);
    bench.grant_all();
    peer.expect("welcome");
    assert!(bench.handle.inbox.try_send(hot(&bench)).is_ok(), "something was taken");
    assert!(bench.shard.commands_waiting() > 1024, "the publications still wait");
}

fn hot(bench: &Bench) -> OrderedCommand {
    bench.handle.inbox.delivery(std::sync::Arc::new(bench.to_group("hot", 1)))
}

#[test]
fn what_a_user_had_before_does_not_follow_him_to_a_later_connection() {
    let mut bench = Bench::new();
    let mut first = bench.connect("7", &[]);
    bench.publish(bench.publication(Target::User("7".into()), 1, 10));
    bench.publish(bench.publication(Target::All, 2, 10));
    let mut second = bench.connect("7", &[]);
    bench.publish(bench.publication(Target::User("7".into()), 3, 10));
    bench.turn();
    for n in 1..=3 {
        assert_eq!(first.expect("event")["data"]["n"], n);
    }
    assert_eq!(second.expect("event")["data"]["n"], 3);
}

#[test]
fn a_membership_change_does_not_apply_to_later_connections() {
    let mut bench = Bench::new();
    let mut first = bench.connect("7", &[]);
    bench.control(Control::Close(crate::event::Member::User("7".into()), 4409));
    // Admitted in the same turn, and ahead of the change.
    let mut second = bench.arrive("7", Encoding::V1, &[]);
    bench.grant_all();
    assert_eq!(first.next(), Got::Close(Some(4409)));
    second.expect("welcome");
    bench.control(Control::Close(member(&second), 4409));
    bench.turn();
    assert_eq!(second.next(), Got::Close(Some(4409)));
}

#[test]
fn closes_the_connections_with_the_largest_outboxes_first() {
    let mut bench = Bench::with_total_outbox_bytes(400 * 1024);
    let mut slow: Vec<_> = ["1", "2", "3"].map(|sub| bench.connect_narrow(sub, &[])).into();
    let mut sent = 0;
    // The first gets three times as much as each other.
    for round in 0..60 {
        for sub in ["1", "1", "1", "2", "3"] {
            let target = Target::User(sub.into());
            bench.publish(bench.publication(target, round, 2000));
            sent += 1;
        }
        bench.turn();
        let waiting = bench.shard.connections.waiting_bytes();
        assert!(waiting <= 400 * 1024, "{waiting} bytes after {sent} publications");
    }
    let ended = |got: &Got| matches!(got, Got::Close(Some(4508)));
    let mut closed = [false; 3];
    bench.turn_until("all is read", |bench| {
        for (peer, closed) in slow.iter_mut().zip(&mut closed) {
            *closed |= peer.drain().iter().any(ended);
        }
        bench.shard.connections.waiting_bytes() == 0
    });
    assert_eq!(closed, [true, false, false]);
}

#[test]
fn limits_the_calls_of_a_user_across_all_connections() {
    let mut bench = Bench::new();
    let mut peers: Vec<_> = (0..3).map(|_| bench.connect("7", &[])).collect();
    let mut other = bench.connect("8", &[]);
    for peer in &mut peers[..2] {
        for id in 1..=16 {
            peer.send_text(&format!(r#"{{"type":"call","id":{id},"name":"a"}}"#));
        }
    }
    bench.turn_until("32 calls are asked", |bench| bench.requests.len() == 32);
    peers[2].send_text(r#"{"type":"call","id":1,"name":"a"}"#);
    other.send_text(r#"{"type":"call","id":1,"name":"a"}"#);
    bench.turn_until("the other user's call is asked", |bench| bench.requests.len() == 33);
    let mut refused = None;
    bench.turn_until("the call too many is refused", |_| {
        refused = peers[2].drain().pop();
        refused.is_some()
    });
    let Some(Got::Json(error)) = refused else { panic!("{refused:?}") };
    assert_eq!((&error["code"], &error["retry"]), (&"limited".into(), &true.into()));
    // An answer makes room.
    let Some(Requested::Call(call)) = bench.requests.try_recv() else { panic!("no call") };
    bench.answered(call.to, crate::hub::RequestKind::Call);
    bench.turn();
    peers[2].send_text(r#"{"type":"call","id":2,"name":"a"}"#);
    bench.turn_until("it is asked", |bench| bench.requests.len() == 33);
}
