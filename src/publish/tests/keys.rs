//! The memory of keys against a model that forgets nothing early and is not bounded.

use std::collections::HashMap;

use proptest::prelude::*;

use super::super::keys::{Claim, Claimed, Content, Keys};
use super::*;
use crate::event::PublicationId;

const WINDOW: Duration = Duration::from_secs(100);
const TARGETS: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    Claim { key: usize, content: u32 },
    Note { holder: usize, target: usize },
    Release { holder: usize },
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3usize, 0..2u32).prop_map(|(key, content)| Step::Claim { key, content }),
        3 => (0..4usize, 0..TARGETS).prop_map(|(holder, target)| Step::Note { holder, target }),
        3 => (0..4usize).prop_map(|holder| Step::Release { holder }),
        1 => (0..80u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..60)
}

struct Remembered {
    content: u32,
    claimed_at: u64,
    accepted: Vec<Option<Receipt>>,
    held: bool,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Mine(Vec<Option<Receipt>>),
    Known(Vec<Receipt>),
    Taken,
    OtherContent,
}

/// What a claim must answer.
fn expected(model: &mut HashMap<usize, Remembered>, key: usize, content: u32, now: u64) -> Answer {
    let over = |r: &Remembered| !r.held && now - r.claimed_at >= WINDOW.as_secs();
    if model.get(&key).is_some_and(over) {
        model.remove(&key);
    }
    let fresh =
        || Remembered { content, claimed_at: now, accepted: vec![None; TARGETS], held: false };
    let known = model.entry(key).or_insert_with(fresh);
    if known.content != content {
        return Answer::OtherContent;
    }
    if known.held {
        return Answer::Taken;
    }
    if let Some(all) = known.accepted.iter().cloned().collect() {
        return Answer::Known(all);
    }
    known.held = true;
    Answer::Mine(known.accepted.clone())
}

proptest! {
    #[test]
    fn the_key_store_agrees_with_its_model(steps in steps()) {
        let start = Instant::now();
        let keys = Keys::new(WINDOW, 1000);
        let names: Vec<_> = (0..3)
            .map(|i| DedupeKey::new(Scope::User("7"), &format!("k{i}")).expect("a legal key"))
            .collect();
        let content = |n| Content::of(&[to("a"), to("b")], &aviso(n));
        let contents: Vec<_> = (0..2).map(content).collect();
        let mut model: HashMap<usize, Remembered> = HashMap::new();
        let mut holders: Vec<(usize, Claimed<'_>)> = Vec::new();
        let (mut now, mut ids) = (0, 0);
        for step in steps {
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::Claim { key, content } => {
                    let at = start + Duration::from_secs(now);
                    let claim = keys.claim(&names[key], &contents[content as usize], TARGETS, at);
                    let answer = match claim {
                        Claim::Mine(claimed) => {
                            let earlier = (0..TARGETS).map(|i| claimed.earlier(i)).collect();
                            holders.push((key, claimed));
                            Answer::Mine(earlier)
                        }
                        Claim::Known(accepted) => Answer::Known(accepted),
                        Claim::Taken(_) => Answer::Taken,
                        Claim::OtherContent => Answer::OtherContent,
                    };
                    prop_assert_eq!(answer, expected(&mut model, key, content, now));
                }
                Step::Note { holder, target } => {
                    let Some((key, claimed)) = holders.get_mut(holder) else { continue };
                    ids += 1;
                    let id = PublicationId(ids);
                    let accepted = Receipt { id, position: None, repeated: false };
                    claimed.note(target, &accepted);
                    let known = model.get_mut(key).expect("a held key is remembered");
                    known.accepted[target] = Some(accepted);
                }
                Step::Release { holder } => {
                    if holder >= holders.len() {
                        continue;
                    }
                    let (key, claimed) = holders.remove(holder);
                    drop(claimed);
                    let known = model.get_mut(&key).expect("a held key is remembered");
                    known.held = false;
                    if known.accepted.iter().all(Option::is_none) {
                        model.remove(&key);
                    }
                }
            }
        }
    }
}

fn settle(keys: &Keys, n: u32, now: Instant) {
    let key = DedupeKey::new(Scope::User("7"), &n.to_string()).expect("a legal key");
    let Claim::Mine(mut claimed) = keys.claim(&key, &Content::of(&[to("a")], &aviso(n)), 1, now)
    else {
        panic!("key {n} is new");
    };
    let id = PublicationId(n.into());
    claimed.note(0, &Receipt { id, position: None, repeated: false });
}

fn is_known(keys: &Keys, n: u32, now: Instant) -> bool {
    let key = DedupeKey::new(Scope::User("7"), &n.to_string()).expect("a legal key");
    matches!(keys.claim(&key, &Content::of(&[to("a")], &aviso(n)), 1, now), Claim::Known(_))
}

#[test]
fn evicts_the_oldest_keys_beyond_the_limit() {
    let (keys, now) = (Keys::new(WINDOW, 10), Instant::now());
    for n in 0..100 {
        settle(&keys, n, now);
        assert!(keys.remembered() <= 10, "{} keys", keys.remembered());
    }
    for n in 90..100 {
        assert!(is_known(&keys, n, now), "key {n}");
    }
    assert!(!is_known(&keys, 89, now));
}

#[test]
fn later_keys_remove_expired_ones() {
    let keys = Keys::new(Duration::from_millis(1), 1000);
    let long_ago = Instant::now().checked_sub(LONG).expect("the clock is older than that");
    for n in 0..100 {
        settle(&keys, n, long_ago);
    }
    assert!(keys.remembered() <= 1, "{} keys", keys.remembered());
}

#[test]
fn a_key_repeated_often_evicts_no_other() {
    let (keys, now) = (Keys::new(WINDOW, 2), Instant::now());
    settle(&keys, 1, now);
    settle(&keys, 2, now);
    for _ in 0..10 {
        assert!(is_known(&keys, 2, now));
    }
    assert!(is_known(&keys, 1, now));
}
