//! Unit tests of the hub's small parts.

use std::sync::Arc;
use std::time::Instant;

use super::fixture::{group, identity, instance};
use super::peer::pair;
use crate::event::{ConnectionId, Except, Publication, PublicationId, Target};
use crate::hub::Dropped;
use crate::hub::registry::{Registry, ShardSet};
use crate::hub::request::Cause;
use crate::hub::shard::{ClosedUsers, REMEMBERED, UserEnd};
use crate::hub::store::{
    Connection, Connections, FrameBudget, FrameChain, Groups, Request, RequestQueue, Turn,
    request_channels,
};
use crate::hub::{Join, MembershipRequest, RouteConfig, Send};
use crate::protocol::{Encoding, Shape};
use crate::socket::{ClientSocket, GapPolicy, Limits, Settings};

fn publication(n: u64) -> Arc<Publication> {
    Arc::new(Publication {
        id: PublicationId(n.into()),
        target: Target::All,
        event: super::fixture::event(n, 60),
        except: Except::default(),
        accepted: Instant::now(),
        deadline: None,
        position: None,
    })
}

fn connection(serial: u64) -> Connection {
    let (server, _) = pair(false);
    let settings = Settings::default();
    let socket = ClientSocket::new(server, Vec::new(), &settings, GapPolicy::Notify).unwrap();
    let id = ConnectionId { instance: instance(), serial };
    Connection::new(id, socket, identity("7"), Encoding::V1, FrameBudget::full(1, 0), 0)
}

/// A join of the connection with this serial.
fn join(serial: u64) -> Request {
    Request::Join(Join {
        to: ConnectionId { instance: instance(), serial },
        sub: "7".into(),
        shard: 0,
        ticket: 0,
        cause: Cause::Server("backend"),
        groups: Vec::new(),
        refused: Vec::new(),
    })
}

/// A send of the connection with this serial.
fn send(serial: u64) -> Request {
    Request::Send(Box::new(Send {
        to: ConnectionId { instance: instance(), serial },
        shard: 0,
        sub: "7".into(),
        id: 1,
        group: group("a"),
        event: super::fixture::event(1, 60),
        echo: true,
        key: None,
    }))
}

#[test]
fn a_frame_budget_allows_its_burst_and_then_its_rate() {
    let mut budget = FrameBudget::full(5, 1000);
    let taken =
        |budget: &mut FrameBudget, now| (0..100).filter(|_| budget.take(10, 5, now)).count();
    assert_eq!(taken(&mut budget, 1000), 5);
    assert_eq!(taken(&mut budget, 1099), 0);
    assert_eq!(taken(&mut budget, 1200), 2, "10 a second");
    assert_eq!(taken(&mut budget, 60_000), 5, "never more than the burst");
}

#[test]
fn keeps_a_frame_budget_when_its_clock_wraps() {
    let start = u64::from(u32::MAX) - 100;
    let mut budget = FrameBudget::full(1, start);
    assert!(budget.take(10, 1, start));
    assert!(!budget.take(10, 1, start + 50));
    assert!(budget.take(10, 1, start + 200));
}

#[test]
fn keeps_requests_without_room_in_order_and_their_connections_unread() {
    let (senders, mut requests) = request_channels(1);
    let mut queue = RequestQueue::new(senders, 0);
    let (mut connections, groups) = (Connections::default(), Groups::default());
    let keys: Vec<_> = (1..=3).map(|n| connections.insert(connection(n))).collect();
    for (key, serial) in keys.iter().zip(1..) {
        connections.open(*key, 0);
        queue.request(&mut connections, *key, join(serial));
    }
    connections.take_to_read();
    assert!(queue.is_waiting());
    let waits: Vec<_> = keys.iter().map(|key| connections[*key].must_wait()).collect();
    assert_eq!(waits, [false, true, true]);
    let mut order = Vec::new();
    for round in 0..3 {
        let Ok(MembershipRequest::Join(join)) = requests.memberships.try_recv() else {
            panic!("nothing in round {round}")
        };
        order.push(join.to.serial);
        queue.send(&mut connections, &groups);
    }
    assert_eq!(order, [1, 2, 3]);
    assert_eq!(connections.take_to_read(), [(keys[1], 2), (keys[2], 3)]);
    assert!(keys.iter().all(|key| !connections[*key].must_wait()));
    assert!(!queue.is_waiting());
}

#[test]
fn no_kind_of_request_waits_for_another() {
    let (senders, mut requests) = request_channels(1);
    let mut queue = RequestQueue::new(senders, 0);
    let mut connections = Connections::default();
    let keys: Vec<_> = (1..=3).map(|n| connections.insert(connection(n))).collect();
    for key in &keys {
        connections.open(*key, 0);
    }
    queue.request(&mut connections, keys[0], join(1));
    queue.request(&mut connections, keys[1], join(2));
    queue.request(&mut connections, keys[2], send(3));
    assert!(connections[keys[1]].must_wait(), "there is no room for its join");
    assert!(!connections[keys[2]].must_wait());
    assert_eq!(requests.sends.try_recv().unwrap().to.serial, 3);
}

#[test]
fn sends_a_request_behind_the_joins_of_its_own_connection_alone() {
    let (senders, mut requests) = request_channels(8);
    let mut queue = RequestQueue::new(senders, 0);
    let (mut connections, groups) = (Connections::default(), Groups::default());
    let keys: Vec<_> = (1..=2).map(|n| connections.insert(connection(n))).collect();
    for key in &keys {
        connections.open(*key, 0);
    }
    connections[keys[0]].join_begins();
    queue.request(&mut connections, keys[0], send(1));
    queue.request(&mut connections, keys[1], send(2));
    assert_eq!(requests.sends.try_recv().unwrap().to.serial, 2);
    queue.send(&mut connections, &groups);
    assert!(requests.sends.try_recv().is_err(), "its join is not answered");
    assert!(connections[keys[0]].must_wait());
    connections[keys[0]].join_ends();
    queue.send(&mut connections, &groups);
    assert_eq!(requests.sends.try_recv().unwrap().to.serial, 1);
    assert!(!connections[keys[0]].must_wait());
}

#[test]
fn keeps_a_released_group_until_there_is_room() {
    let (senders, mut requests) = request_channels(1);
    let mut queue = RequestQueue::new(senders, 0);
    let (mut connections, groups) = (Connections::default(), Groups::default());
    let key = connections.insert(connection(1));
    queue.request(&mut connections, key, join(1));
    queue.release(group("g"));
    queue.send(&mut connections, &groups);
    assert!(queue.is_waiting(), "no room yet");
    requests.memberships.try_recv().unwrap();
    queue.send(&mut connections, &groups);
    let Ok(MembershipRequest::Release { groups: names, .. }) = requests.memberships.try_recv()
    else {
        panic!()
    };
    assert_eq!(names, [group("g")]);
}

#[test]
fn remembers_the_users_of_a_bounded_number_of_closes() {
    let mut closed = ClosedUsers::default();
    let now = Instant::now();
    let sub = |n: usize| -> Arc<str> { format!("u{n}").into() };
    let end = |code| UserEnd {
        id: ConnectionId { instance: "k3f5a2bq".parse().unwrap(), serial: 1 },
        code,
        reason: "",
        at: now,
        since: 0,
        second: 0,
        dropped: Dropped::default(),
    };
    closed.note(&sub(0), end(4401));
    for n in 1..REMEMBERED {
        closed.note(&sub(n), end(1000));
    }
    assert_eq!(closed.last("u0"), Some(&end(4401)));
    closed.note(&sub(0), end(4508));
    closed.note(&sub(REMEMBERED), end(1000));
    assert_eq!(closed.last("u0"), Some(&end(4508)), "among the last once more");
    assert_eq!(closed.last("u1"), None, "the oldest was evicted");
    for _ in 0..2 * REMEMBERED {
        closed.note(&sub(7), end(1006));
    }
    assert_eq!(closed.last("u7"), Some(&end(1006)));
    assert_eq!(closed.last("u0"), Some(&end(4508)), "one user evicts no other");
}

#[test]
fn encodes_a_frame_once_per_encoding_and_links_it_to_each_connection() {
    let mut turn = Turn::default();
    let shapes = [Shape::verbatim()];
    let mut chains = [FrameChain::default(), FrameChain::default()];
    for n in 0..3 {
        let item = turn.add(publication(n), None, Limits::default(), false);
        let v1 = turn.frame(item, Encoding::V1, &shapes).unwrap();
        let plain = turn.frame(item, Encoding::Plain(0), &shapes).unwrap();
        assert_eq!(turn.frame(item, Encoding::V1, &shapes), Some(v1));
        turn.link(5, &mut chains[0], v1);
        turn.link(9, &mut chains[1], plain);
    }
    assert_eq!(turn.take_touched(), [5, 9]);
    for (nth, mut chain) in chains.into_iter().enumerate() {
        let mut frames = Vec::new();
        while let Some((frame, rest)) = turn.split(chain) {
            frames.push(frame as usize);
            chain = rest;
        }
        assert_eq!(frames, [nth, nth + 2, nth + 4]);
    }
    assert!(turn.items().iter().all(|item| item.receivers == 2));
}

#[test]
fn a_turn_is_full_by_number_or_by_bytes() {
    let mut turn = Turn::default();
    for n in 0..crate::hub::store::MAX_PUBLICATIONS as u64 {
        assert!(!turn.is_full());
        turn.add(publication(n), None, Limits::default(), false);
    }
    assert!(turn.is_full());
    turn.clear();
    assert!(!turn.is_full());
    let large = crate::hub::store::MAX_BYTES / 4;
    for n in 0..4 {
        assert!(!turn.is_full());
        let event = super::fixture::event(n, large + 40);
        let publication = Publication { event, ..Publication::clone(&publication(n)) };
        turn.add(Arc::new(publication), None, Limits::default(), false);
    }
    assert!(turn.is_full());
}

#[test]
fn a_turn_releases_the_memory_of_a_large_one() {
    let mut turn = Turn::default();
    let item = turn.add(publication(1), None, Limits::default(), false);
    let frame = turn.frame(item, Encoding::V1, &[]).unwrap();
    for key in 0..1_000_000 {
        turn.link(key, &mut FrameChain::default(), frame);
    }
    turn.clear();
    assert!(turn.take_touched().capacity() <= crate::hub::store::MAX_LINKS);
}

#[test]
fn a_group_is_open_while_any_shard_has_members() {
    let (registry, g) = (Registry::default(), group("g"));
    assert!(registry.open(&g, 3));
    assert!(!registry.open(&g, 60));
    assert!(!registry.open(&g, 3));
    assert_eq!(registry.shards_of(&g).iter().collect::<Vec<_>>(), [3, 60]);
    assert!(!registry.close(&g, 3));
    assert!(registry.close(&g, 60));
    assert!(registry.close(&g, 60), "released twice");
    assert_eq!((registry.shards_of(&g), registry.groups()), (ShardSet::default(), 0));
    assert_eq!(ShardSet::all(64).iter().count(), 64);
}

#[test]
fn a_parameter_that_looks_like_a_variable_is_its_text() {
    let route = RouteConfig { path: "/ws/{a}/x{b}/{b}/".into(), ..RouteConfig::default() };
    let parameters =
        |a: &str, b: &str| [("a".to_owned(), a.to_owned()), ("b".to_owned(), b.to_owned())];
    let path = |a: &str, b: &str| route.path_with(Some(&parameters(a, b))).to_string();
    assert_eq!(path("1", "2"), "/ws/1/x{b}/2/");
    assert_eq!(path("{b}", "2"), "/ws/{b}/x{b}/2/");
    assert_eq!(path("{a}{b}", "{a}"), "/ws/{a}{b}/x{b}/{a}/");
    assert_eq!(&*route.path_with(None), "/ws/{a}/x{b}/{b}/");
}
