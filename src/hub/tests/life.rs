//! Timers of a connection: pings, silence, the expiry of a token.

use tokio::sync::oneshot;

use super::bench::Bench;
use super::fixture::{group, identity, token};
use super::peer::Got;
use crate::event::{Recovery, Target};
use crate::hub::command::PromptCommand;
use crate::hub::inspection::{GroupQuery, Inspection};
use crate::hub::store::InFlight;
use crate::protocol::Encoding;

#[test]
fn pings_a_silent_connection_and_then_closes_it() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &[]);
    bench.pass(26);
    peer.expect("ping");
    bench.pass(10);
    assert_eq!(peer.next(), Got::Close(Some(4504)));
}

#[test]
fn measures_the_round_trip_of_a_ping() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &[]);
    assert_eq!(bench.shard.connections[0].socket.round_trip.millis(), None);
    bench.pass(26);
    peer.expect("ping");
    bench.now += std::time::Duration::from_millis(40);
    peer.send_text(r#"{"type":"pong"}"#);
    bench.turn_until("the pong", |bench| {
        bench.shard.connections[0].socket.round_trip.millis().is_some()
    });
    // The bench passes whole seconds, and the ping went in one of them.
    let millis = bench.shard.connections[0].socket.round_trip.millis().unwrap();
    assert_eq!(millis % 1000, 40, "{millis} ms");
}

#[test]
fn keeps_a_slow_reader_that_answers_pings() {
    let mut bench = Bench::new();
    let mut peer = bench.connect_narrow("7", &["g"]);
    let mut pings = 0;
    while !bench.shard.connections[0].socket.has_waiting() {
        bench.publish(bench.publication(Target::Group(group("g")), 0, 500));
        bench.turn();
    }
    for n in 0..90 {
        // More than it reads, so that its queue is never empty.
        for _ in 0..20 {
            bench.publish(bench.publication(Target::Group(group("g")), n, 500));
        }
        bench.pass(1);
        assert!(bench.shard.connections[0].socket.has_waiting(), "second {n}");
        // It reads a little each second.
        for _ in 0..2 {
            let got = peer.next();
            assert!(!matches!(got, Got::Close(_) | Got::End), "{got:?} at second {n}");
            if matches!(&got, Got::Json(frame) if frame["type"] == "ping") {
                pings += 1;
                peer.send_text(r#"{"type":"pong"}"#);
            }
        }
    }
    assert!(pings >= 2, "{pings} pings");
}

#[test]
fn counts_silence_from_the_welcome_of_a_slow_join() {
    let mut bench = Bench::new();
    let mut peer = bench.arrive("7", Encoding::V1, &["g"]);
    bench.pass(33);
    let join = bench.join();
    bench.grant(join, &Recovery::default());
    bench.pass(10);
    peer.expect("welcome");
    assert_eq!(peer.drain(), []);
}

#[test]
fn closes_a_connection_whose_groups_never_arrive_with_a_code_that_lets_it_reconnect() {
    let mut bench = Bench::new();
    let mut peer = bench.arrive("7", Encoding::V1, &["g"]);
    bench.pass(36);
    assert_eq!(peer.next(), Got::Close(Some(4503)));
}

#[test]
fn announces_the_expiry_of_a_token_and_closes() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &[]);
    let renewed = token("7", 70);
    peer.send_text(&format!(r#"{{"type":"auth","id":1,"token":"{renewed}"}}"#));
    bench.turn_until("it is handled", |bench| {
        bench.shard.connections[0].in_flight == InFlight::Many { calls: 0, others: 0 } && {
            bench.shard.connections[0].identity.expires_at < identity("7").expires_at
        }
    });
    peer.expect("authed");
    let mut announced = None;
    for second in (0..70).step_by(5) {
        bench.pass(5);
        peer.send_text(r#"{"type":"pong"}"#);
        for got in peer.drain() {
            match got {
                Got::Json(frame) if frame["type"] == "auth_due" => {
                    assert_eq!(announced.replace(second), None, "it is asked for once");
                }
                Got::Close(code) => {
                    assert_eq!((announced, code), (Some(55), Some(4401)), "at a fifth of its life");
                    return;
                }
                _ => {}
            }
        }
    }
    panic!("its token is over, and it is connected");
}

#[test]
fn reports_expired_publications_at_their_place() {
    let mut bench = Bench::new();
    let (mut peer, mut arriving) =
        (bench.connect("7", &["g"]), bench.arrive("8", Encoding::V1, &["g"]));
    let join = bench.join();
    let lasting = std::time::Duration::from_secs(2);
    for n in [1, 2, 3] {
        let mut publication = bench.to_group("g", n);
        publication.deadline = Some(if n == 2 { bench.now } else { bench.now + lasting });
        bench.publish(publication);
    }
    bench.publish(crate::event::Publication { deadline: Some(bench.now), ..bench.to_user("7", 4) });
    bench.turn();
    assert_eq!(peer.expect("event")["data"]["n"], 1);
    let gap = peer.expect("gap");
    assert_eq!(
        (&gap["group"], &gap["reason"], &gap["lost"]),
        (&"g".into(), &"expired".into(), &1.into())
    );
    assert_eq!(peer.expect("event")["data"]["n"], 3);
    assert_eq!(peer.expect("gap").get("group"), None);
    // Held back until all events have expired.
    bench.pass(2);
    bench.grant(join, &Recovery::default());
    arriving.expect("welcome");
    assert_eq!(arriving.expect("gap")["lost"], 3);
    assert_eq!(bench.metric(r#"groupcast_dropped_total{reason="expired"}"#) as u64, 5);
}

#[test]
fn replayed_publications_do_not_expire_in_the_outbox() {
    let mut bench = Bench::new();
    let mut peer = bench.arrive_by("7", Encoding::V1, &["g"], true, 0);
    let join = bench.join();
    let old = (1..=20).map(|n| {
        let publication = bench.publication(Target::Group(group("g")), n, 2000);
        std::sync::Arc::new(publication)
    });
    let recovery = Recovery { recovered: Some(true), replay: old.collect(), ..Recovery::default() };
    bench.now += std::time::Duration::from_secs(600);
    bench.grant(join, &recovery);
    peer.expect("welcome");
    let mut got = Vec::new();
    bench.turn_until("all is there", |_| {
        got.extend(peer.drain());
        got.len() == 20
    });
    assert!(got.iter().all(|got| matches!(got, Got::Json(frame) if frame["type"] == "event")));
}

#[test]
fn closes_no_connection_after_a_pause_of_the_process() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &[]);
    // A ping is in flight when the process stops for a minute and a half.
    bench.pass(26);
    peer.expect("ping");
    bench.now += std::time::Duration::from_secs(90);
    bench.turn();
    bench.turn();
    peer.expect("ping");
    bench.pass(24);
    assert_eq!(peer.drain(), [], "its answer may be in flight");
    bench.pass(1);
    peer.expect("ping");
    bench.pass(10);
    assert_eq!(peer.next(), Got::Close(Some(4504)));
}

#[test]
fn frequent_pings_do_not_postpone_the_close_of_a_silent_connection() {
    let second = std::time::Duration::from_secs(1);
    let settings =
        crate::socket::Settings { ping: second, ping_grace: 2 * second, ..Default::default() };
    let mut bench = Bench::with(settings, 16);
    let mut peer = bench.connect("7", &[]);
    bench.pass(3);
    for _ in 0..2 {
        peer.expect("ping");
    }
    assert_eq!(peer.next(), Got::Close(Some(4504)));
}

#[test]
fn answers_the_ping_of_a_client_with_a_pong() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &[]);
    peer.send_text(r#"{"type":"ping"}"#);
    bench.turn_until("it is answered", |_| {
        let got = peer.drain();
        got.iter().any(|got| matches!(got, Got::Json(frame) if frame["type"] == "pong"))
    });
}

#[test]
fn announces_the_expiry_and_waits_when_the_wall_clock_jumps_past_it() {
    let mut bench = Bench::new();
    let mut peer = bench.connect("7", &[]);
    let jumped_to = bench.shard.context.clock.unix() + 2 * 3600;
    let jumped = bench.shard.context.clock.follow_wall(bench.now, jumped_to);
    assert!(jumped.is_some_and(|seconds| seconds >= 2 * 3600 - 1), "{jumped:?}");
    let mut announced = None;
    for second in (0..120).step_by(5) {
        bench.pass(5);
        peer.send_text(r#"{"type":"pong"}"#);
        for got in peer.drain() {
            match got {
                Got::Json(frame) if frame["type"] == "auth_due" => {
                    assert_eq!(announced.replace(second), None, "it is asked for once");
                }
                Got::Close(code) => {
                    assert_eq!(code, Some(4401));
                    let announced = announced.expect("the client is told first");
                    assert!(second - announced >= 60, "{announced} {second}");
                    return;
                }
                _ => {}
            }
        }
    }
    panic!("its token is over, and it is connected");
}

#[test]
fn tells_how_many_publications_of_a_group_wait_in_outboxes() {
    let mut bench = Bench::new();
    let _peer = bench.connect_narrow("7", &["g"]);
    while !bench.shard.connections[0].socket.has_waiting() {
        bench.publish(bench.publication(Target::Group(group("g")), 0, 500));
        bench.turn();
    }
    for n in 0..3 {
        bench.publish(bench.publication(Target::Group(group("g")), n, 500));
    }
    let names = vec!["g".to_owned(), "unheld".to_owned()];
    let query = GroupQuery { names, rows: 10, ..GroupQuery::default() };
    let (reply, mut answer) = oneshot::channel();
    bench.turn();
    bench.post(PromptCommand::Inspect(Inspection::Groups(query, reply)));
    bench.turn();
    let rows = answer.try_recv().unwrap();
    assert_eq!(rows.len(), 1);
    assert!((3..10).contains(&rows[0].waiting.unwrap()), "{:?}", rows[0]);
}
