//! The hub's small parts by themselves.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::fixture::group;
use crate::event::{Except, Publication, PublicationId, Target};
use crate::hub::Request;
use crate::hub::connections::Budget;
use crate::hub::look::{ClosedUsers, REMEMBERED};
use crate::hub::members::Groups;
use crate::hub::outgoing::Outgoing;
use crate::hub::registry::{Registry, ShardSet};
use crate::hub::turn::{FrameChain, MAX_PUBLICATIONS, Turn};
use crate::protocol::{Encoding, Shape};
use crate::socket::Limits;

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

fn release(name: &str) -> Request {
    Request::Release { shard: 0, groups: vec![group(name)] }
}

#[test]
fn a_budget_gives_its_burst_and_then_its_rate() {
    let mut budget = Budget::full(5, 1000);
    let taken = |budget: &mut Budget, now| (0..100).filter(|_| budget.take(10, 5, now)).count();
    assert_eq!(taken(&mut budget, 1000), 5);
    assert_eq!(taken(&mut budget, 1099), 0);
    assert_eq!(taken(&mut budget, 1200), 2, "10 a second");
    assert_eq!(taken(&mut budget, 60_000), 5, "never more than the burst");
}

#[test]
fn a_budget_is_not_lost_when_its_clock_wraps() {
    let start = u64::from(u32::MAX) - 100;
    let mut budget = Budget::full(1, start);
    assert!(budget.take(10, 1, start));
    assert!(!budget.take(10, 1, start + 50));
    assert!(budget.take(10, 1, start + 200));
}

#[test]
fn requests_without_room_wait_in_order_and_say_whose_they_were() {
    let (sender, mut requests) = mpsc::channel(1);
    let mut outgoing = Outgoing::new(sender, 0);
    let groups = Groups::default();
    assert!(outgoing.request(1, 11, release("a")));
    assert!(!outgoing.request(2, 12, release("b")));
    assert!(!outgoing.request(3, 13, release("c")));
    assert!(outgoing.is_waiting());
    let mut order = Vec::new();
    for round in 0..3 {
        let Ok(Request::Release { groups: names, .. }) = requests.try_recv() else {
            panic!("nothing in round {round}")
        };
        order.extend(names);
        outgoing.send(&groups);
    }
    assert_eq!(order, [group("a"), group("b"), group("c")]);
    assert_eq!(outgoing.placed, [(2, 12), (3, 13)]);
    assert!(!outgoing.is_waiting());
}

#[test]
fn a_released_group_waits_for_room_and_is_kept_if_somebody_came_back() {
    let (sender, mut requests) = mpsc::channel(1);
    let mut outgoing = Outgoing::new(sender, 0);
    let groups = Groups::default();
    assert!(outgoing.request(1, 11, release("a")));
    outgoing.release(group("g"));
    outgoing.send(&groups);
    assert!(outgoing.is_waiting(), "no room yet");
    requests.try_recv().unwrap();
    outgoing.send(&groups);
    let Ok(Request::Release { groups: names, .. }) = requests.try_recv() else { panic!() };
    assert_eq!(names, [group("g")]);
}

#[test]
fn the_users_of_the_last_closes_are_remembered_and_no_more() {
    let mut closed = ClosedUsers::default();
    let now = Instant::now();
    let sub = |n: usize| -> Arc<str> { format!("u{n}").into() };
    closed.note(&sub(0), 4401, now);
    for n in 1..REMEMBERED {
        closed.note(&sub(n), 1000, now);
    }
    assert_eq!(closed.last("u0"), Some((4401, now)));
    closed.note(&sub(0), 4508, now);
    closed.note(&sub(REMEMBERED), 1000, now);
    assert_eq!(closed.last("u0"), Some((4508, now)), "among the last once more");
    assert_eq!(closed.last("u1"), None, "the oldest has gone");
    for _ in 0..2 * REMEMBERED {
        closed.note(&sub(7), 1006, now);
    }
    assert_eq!(closed.last("u0"), None);
    assert_eq!(closed.last("u7"), Some((1006, now)));
}

#[test]
fn a_tick_makes_a_frame_once_for_each_encoding_and_chains_each_seats_own() {
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
    assert_eq!((turn.frames.len(), &*turn.touched), (6, &[5, 9][..]));
    for (seat, mut chain) in chains.into_iter().enumerate() {
        let mut frames = Vec::new();
        while let Some((frame, rest)) = turn.split(chain) {
            frames.push(frame as usize);
            chain = rest;
        }
        assert_eq!(frames, [seat, seat + 2, seat + 4]);
    }
    assert!(turn.items.iter().all(|item| item.receivers == 2));
}

#[test]
fn a_tick_is_full_by_number_or_by_bytes() {
    let mut turn = Turn::default();
    for n in 0..MAX_PUBLICATIONS as u64 {
        assert!(!turn.is_full());
        turn.add(publication(n), None, Limits::default(), false);
    }
    assert!(turn.is_full());
    turn.clear();
    assert!(!turn.is_full());
    turn.bytes = crate::hub::turn::MAX_BYTES;
    assert!(turn.is_full());
}

#[test]
fn a_tick_does_not_keep_the_room_of_the_largest_there_ever_was() {
    let mut turn = Turn::default();
    let item = turn.add(publication(1), None, Limits::default(), false);
    let frame = turn.frame(item, Encoding::V1, &[]).unwrap();
    for seat in 0..1_000_000 {
        turn.link(seat, &mut FrameChain::default(), frame);
    }
    turn.clear();
    assert!(turn.touched.capacity() <= crate::hub::turn::MAX_LINKS);
}

#[test]
fn a_group_is_open_while_one_shard_has_members() {
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
