//! The oracle that checks clients, tested with made-up sequences of frames.

use serde_json::{Value, json};

use crate::support::DeliveryOracle;

fn event(sender: u64, number: u64) -> Value {
    let data = json!({"type": "paso", "s": sender, "n": number});
    json!({"type": "event", "group": "sala_1", "id": format!("{sender}-{number}"), "data": data})
}

fn numbered(offset: u64) -> Value {
    let data = json!({"type": "paso", "s": 0, "n": offset});
    json!({"type": "event", "group": "pedido.1", "offset": offset, "data": data})
}

fn joined(group: Value) -> Value {
    json!({"type": "joined", "groups": [group]})
}

fn gap() -> Value {
    json!({"type": "gap", "group": "sala_1", "reason": "layer", "possible": true})
}

/// The first error that the oracle finds.
fn first_error(frames: &[Value]) -> Option<String> {
    let mut oracle = DeliveryOracle::default();
    frames.iter().find_map(|frame| oracle.observe(frame).err())
}

#[track_caller]
fn assert_error(frames: &[Value], what: &str) {
    let error = first_error(frames).expect("an error");
    assert!(error.contains(what), "{error}");
}

#[test]
fn accepts_every_event_once_and_in_order() {
    let join = joined(json!({"group": "sala_1"}));
    let frames = [join, event(0, 1), event(1, 1), event(0, 2), event(0, 3), event(1, 2)];
    assert_eq!(first_error(&frames), None);
    let mut oracle = DeliveryOracle::default();
    frames.iter().for_each(|frame| oracle.observe(frame).unwrap());
    assert!(oracle.has_all("sala_1", &[(0, 3), (1, 2)].into()));
    assert!(!oracle.has_all("sala_1", &[(0, 3), (1, 3)].into()));
    assert!(!oracle.has_all("sala_1", &[(0, 3), (2, 1)].into()));
    assert_eq!((oracle.events, oracle.gaps, oracle.missed("sala_1")), (5, 0, 0));
    oracle.observe(&gap()).unwrap();
    oracle.observe(&event(0, 6)).unwrap();
    assert_eq!((oracle.events, oracle.gaps, oracle.missed("sala_1")), (6, 1, 2));
}

#[test]
fn detects_a_repetition_however_late() {
    let join = joined(json!({"group": "sala_1"}));
    assert_error(&[join.clone(), event(0, 1), event(0, 1)], "arrived twice");
    assert_error(&[join.clone(), event(0, 1), event(0, 2), gap(), event(0, 1)], "arrived twice");
    assert_error(&[join.clone(), event(0, 1), join, event(0, 1), event(0, 1)], "arrived twice");
}

#[test]
fn accepts_a_replay_to_another_connection_under_the_same_id() {
    let join = joined(json!({"group": "sala_1"}));
    let twice = [event(0, 1), event(0, 2)];
    let frames = [&[join.clone()][..], &twice, std::slice::from_ref(&join), &twice].concat();
    assert_eq!(first_error(&[frames.clone(), vec![event(0, 3)]].concat()), None);
    assert_error(&[frames.clone(), vec![event(0, 1)]].concat(), "arrived twice");
    let mut renamed = event(0, 1);
    renamed["id"] = "other".into();
    assert_error(&[join.clone(), event(0, 1), join, renamed], "arrived twice");
}

#[test]
fn detects_a_late_event_even_if_a_gap_reported_it_lost() {
    let join = joined(json!({"group": "sala_1"}));
    assert_error(&[join, event(0, 1), gap(), event(0, 3), event(0, 2)], "out of order");
}

#[test]
fn requires_a_gap_before_the_event_that_follows_a_hole() {
    let join = joined(json!({"group": "sala_1"}));
    assert_error(&[join.clone(), event(0, 2)], "missing");
    assert_error(&[join.clone(), event(0, 1), event(0, 3), gap()], "missing");
    assert_eq!(first_error(&[join.clone(), event(0, 1), gap(), event(0, 3), event(0, 4)]), None);
    assert_eq!(first_error(&[join.clone(), gap(), event(0, 3)]), None);
    // One gap explains one hole of each sender.
    let again = [join.clone(), event(0, 1), gap(), event(0, 3), event(0, 5)];
    assert_error(&again, "missing");
    let both = [join.clone(), event(0, 1), event(1, 1), gap(), event(0, 3), event(1, 9)];
    assert_eq!(first_error(&both), None);
    assert_eq!(first_error(&[join.clone(), event(0, 1), join, event(0, 3)]), None);
}

#[test]
fn does_not_accept_a_gap_of_another_group() {
    let join = json!({"type": "joined", "groups": [{"group": "sala_1"}, {"group": "sala_2"}]});
    let mut other = gap();
    other["group"] = "sala_2".into();
    assert_error(&[join, event(0, 1), other, event(0, 3)], "missing");
}

#[test]
fn requires_consecutive_offsets_or_a_gap_that_names_the_missing_ones() {
    let join = joined(json!({"group": "pedido.1", "epoch": "a", "offset": 0}));
    let gap = |from, to| {
        json!({
            "type": "gap", "group": "pedido.1", "reason": "history",
            "epoch": "a", "from": from, "to": to,
        })
    };
    assert_eq!(first_error(&[join.clone(), numbered(1), numbered(2)]), None);
    assert_error(&[join.clone(), numbered(1), numbered(3)], "follows");
    assert_eq!(first_error(&[join.clone(), numbered(1), gap(2, 4), numbered(5)]), None);
    assert_error(&[join.clone(), numbered(1), gap(3, 4), numbered(5)], "follows");
    assert_error(&[join.clone(), numbered(1), gap(2, 4), numbered(6)], "follows");
    let anew = json!({"type": "gap", "group": "pedido.1", "reason": "layer", "epoch": "b"});
    let mut first = numbered(2);
    first["offset"] = 1.into();
    assert_eq!(first_error(&[join, numbered(1), anew, first]), None);
}

#[test]
fn tells_what_a_history_should_have_had() {
    let join =
        |epoch, offset| joined(json!({"group": "pedido.1", "epoch": epoch, "offset": offset}));
    let missed_after = |back: Value, next: u64| {
        let mut oracle = DeliveryOracle::default();
        let mut event = numbered(next);
        event["data"]["n"] = 5.into();
        [join("a", 0), numbered(1), back, event].iter().for_each(|it| oracle.observe(it).unwrap());
        (oracle.missed("pedido.1"), oracle.missed_within_epoch("pedido.1"))
    };
    assert_eq!(missed_after(join("a", 4), 5), (3, 3));
    assert_eq!(missed_after(join("b", 0), 1), (3, 0));
    let gap = json!({"type": "gap", "group": "pedido.1", "reason": "layer", "epoch": "b"});
    assert_eq!(missed_after(gap, 1), (3, 0));
}

#[test]
fn requires_a_complete_replay_after_recovered() {
    let join = joined(json!({"group": "pedido.1", "epoch": "a", "offset": 0}));
    let back = |epoch, offset, recovered| {
        joined(
            json!({"group": "pedido.1", "epoch": epoch, "offset": offset, "recovered": recovered}),
        )
    };
    let missed = [join.clone(), numbered(1), back("a", 3, true), numbered(2), numbered(3)];
    assert_eq!(first_error(&missed), None);
    assert_error(&[join.clone(), numbered(1), back("a", 3, true), numbered(3)], "follows");
    assert_error(&[join.clone(), numbered(1), back("b", 3, true)], "foreign position");
    assert_eq!(first_error(&[join, numbered(1), back("a", 3, false), numbered(4)]), None);
}
