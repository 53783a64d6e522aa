//! Of events with something in common only the newest waits.

use super::*;
use crate::event::Event;

#[test]
fn latest_keeps_the_newest_event_and_tells_no_loss() {
    let mut outbox = notifying_outbox();
    let latest = limits(100, Overflow::Latest);
    for n in 1..=5 {
        let lost = outbox.push(A, entry(&n.to_string()), &latest).unwrap();
        assert_eq!(lost, Lost { superseded: u32::from(n > 1), ..Lost::default() });
        outbox.push(B, entry(&format!("b{n}")), &limits(100, Overflow::DropOldest)).unwrap();
    }
    assert_eq!(drain(&mut outbox, START), "b1 b2 b3 b4 5 b5");
}

#[test]
fn latest_leaves_the_positions_of_what_it_replaced() {
    let mut outbox = notifying_outbox();
    let latest = limits(100, Overflow::Latest);
    for n in 1..=4 {
        outbox.push(A, entry_at(&n.to_string(), "e", n), &latest).unwrap();
    }
    assert_eq!(drain(&mut outbox, START), "<1 at e:3> 4");
}

/// The key of an event with this `id`.
fn key(id: u32) -> CollapseKey {
    let json = format!(r#"{{"id":{id},"type":"t"}}"#);
    CollapseKey::of(&Event::parse(json.into_bytes().into()).unwrap(), "id").unwrap()
}

#[test]
fn latest_keeps_the_newest_event_of_each_key() {
    let mut outbox = notifying_outbox();
    let latest = limits(100, Overflow::Latest);
    for n in 1..=3 {
        for id in [7, 8] {
            let lost = outbox.push(A, entry_of(&format!("{id}.{n}"), key(id)), &latest).unwrap();
            assert_eq!(lost, Lost { superseded: u32::from(n > 1), ..Lost::default() });
        }
        let without = QueuedEvent { collapse: None, ..entry("none") };
        assert_eq!(outbox.push(A, without, &latest).unwrap(), Lost::default());
    }
    assert_eq!(drain(&mut outbox, START), "none none 7.3 8.3 none");
}

#[test]
fn latest_leaves_the_positions_of_what_it_replaced_where_they_were() {
    let mut outbox = notifying_outbox();
    let latest = limits(100, Overflow::Latest);
    for (n, id) in [(1, 7), (2, 8), (3, 7), (4, 7), (5, 8)] {
        let entry = QueuedEvent { collapse: Some(key(id)), ..entry_at(&n.to_string(), "e", n) };
        outbox.push(A, entry, &latest).unwrap();
    }
    assert_eq!(drain(&mut outbox, START), "<1 at e:3> 4 5");
}

#[test]
fn latest_loses_the_oldest_of_more_keys_than_there_is_room_for() {
    let mut outbox = notifying_outbox();
    let latest = limits(2, Overflow::Latest);
    for id in 1..=4 {
        let lost = outbox.push(A, entry_of(&id.to_string(), key(id)), &latest).unwrap();
        assert_eq!(lost, Lost { capacity: u32::from(id > 2), ..Lost::default() });
    }
    assert_eq!(drain(&mut outbox, START), "<1 slow 2> 3 4");
}

#[test]
fn latest_loses_what_does_not_fit_beside_other_sources() {
    let mut outbox = Outbox::new(25, GapPolicy::Notify);
    outbox.push(B, entry("bbbbbbb1"), &limits(100, Overflow::DropOldest)).unwrap();
    let latest = limits(100, Overflow::Latest);
    outbox.push(A, entry("aaaaaaa1"), &latest).unwrap();
    let lost = outbox.push(A, entry("aaaaaaa2-longer"), &latest).unwrap();
    assert_eq!(lost, Lost { bytes: 1, superseded: 1, ..Lost::default() });
    assert_eq!(drain(&mut outbox, START), "bbbbbbb1 <1 slow 1>");
}
