//! Whose turn it is to drain which source, and when. Only a hint: two at once do no harm.
//!
//! Each source has one instance that looks at once when something was written; the others look a
//! moment later whether the same entry still stands at its head, and take over if so.

use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};

use crate::event::{InstanceId, PublicationId};

/// How long the head of a source may stand before any instance drains it.
pub(super) const TAKEOVER: Duration = Duration::from_millis(100);

/// Between two looks at everything, should a word of what was written have been lost.
const SLOW: Duration = Duration::from_secs(1);

/// Between two looks while nobody tells what is written.
const POLL: Duration = Duration::from_millis(50);

/// What an instance knows of its turns.
#[derive(Debug)]
pub(super) struct DrainSchedule {
    me: InstanceId,
    /// Those among whom the sources are shared; empty = not known yet.
    instances: Vec<InstanceId>,
    slots: Vec<Slot>,
    next_look: Instant,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    mine: bool,
    /// DrainReply although it is another's, until it is empty.
    taken_over: bool,
    /// When to look; `None` = when something is written.
    due: Option<Instant>,
    /// What stood at the head of another's source, and since when.
    head: Option<(PublicationId, Instant)>,
}

/// What to do with what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DrainDecision {
    /// It is this instance's to drain.
    Drain,
    /// It is another's.
    Leave,
}

impl DrainSchedule {
    pub(super) fn new(me: InstanceId, sources: usize, now: Instant) -> Self {
        let slots = vec![Slot::default(); sources];
        Self { me, instances: Vec::new(), slots, next_look: now }
    }

    /// Shares the sources among `instances` (rendezvous hashing: who comes or goes moves only its own).
    pub(super) fn share(&mut self, mut instances: Vec<InstanceId>) {
        instances.sort_unstable();
        if instances == self.instances {
            return;
        }
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let first = instances.iter().max_by_key(|instance| weight(**instance, index));
            slot.mine = first == Some(&self.me);
        }
        self.instances = instances;
    }

    /// Something was written to a source.
    pub(super) fn wake(&mut self, index: usize, now: Instant) {
        let slot = &mut self.slots[index];
        let when = if slot.is_drained_here() { now } else { now + TAKEOVER };
        slot.due = Some(slot.due.map_or(when, |due| due.min(when)));
    }

    /// Something may have been written to any.
    pub(super) fn wake_all(&mut self, now: Instant) {
        (0..self.slots.len()).for_each(|index| self.wake(index, now));
    }

    /// Whether everything is to be looked at now.
    pub(super) fn is_slow_look(&self, now: Instant) -> bool {
        now >= self.next_look
    }

    /// The sources to look at now, those that have waited longest first; `told` = what is written is
    /// told.
    pub(super) fn due(&mut self, now: Instant, told: bool) -> Vec<usize> {
        if self.is_slow_look(now) {
            self.next_look = now + if told { SLOW } else { POLL };
            (0..self.slots.len()).for_each(|index| self.again(index, now));
        }
        let due = |index: &usize| self.slots[*index].due.is_some_and(|due| due <= now);
        let mut due: Vec<_> = (0..self.slots.len()).filter(due).collect();
        due.sort_by_key(|index| self.slots[*index].due);
        due
    }

    /// When to look again if nothing is written.
    pub(super) fn next(&self) -> Instant {
        let due = self.slots.iter().filter_map(|slot| slot.due);
        due.min().map_or(self.next_look, |due| due.min(self.next_look))
    }

    /// Whether all of a source is wanted, rather than its head.
    pub(super) fn is_drained_here(&self, index: usize) -> bool {
        self.slots[index].is_drained_here()
    }

    /// A source was looked at, and this stood at its head.
    pub(super) fn looked(
        &mut self,
        index: usize,
        head: Option<PublicationId>,
        now: Instant,
    ) -> DrainDecision {
        let slot = &mut self.slots[index];
        slot.due = None;
        let Some(head) = head else {
            (slot.head, slot.taken_over) = (None, false);
            return DrainDecision::Leave;
        };
        if slot.is_drained_here() {
            return DrainDecision::Drain;
        }
        match slot.head {
            Some((known, since)) if known == head => {
                slot.taken_over = now >= since + TAKEOVER;
                slot.due = Some(if slot.taken_over { now } else { since + TAKEOVER });
            }
            _ => {
                slot.head = Some((head, now));
                slot.due = Some(now + TAKEOVER);
            }
        }
        DrainDecision::Leave
    }

    /// A source could not be looked at; not before `when`.
    pub(super) fn put_off(&mut self, index: usize, when: Instant) {
        self.slots[index].due = Some(when);
    }

    /// There is more in a source than was read, or something new may have come.
    pub(super) fn again(&mut self, index: usize, when: Instant) {
        let slot = &mut self.slots[index];
        slot.due = Some(slot.due.map_or(when, |due| due.min(when)));
    }
}

impl Slot {
    fn is_drained_here(&self) -> bool {
        self.mine || self.taken_over
    }
}

fn weight(instance: InstanceId, index: usize) -> [u8; 8] {
    let hash = digest(&SHA256, format!("{instance} {index}").as_bytes());
    hash.as_ref()[..8].try_into().expect("a SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: PublicationId = PublicationId(1);
    const OTHER: PublicationId = PublicationId(2);

    fn ids() -> [InstanceId; 3] {
        ["aaaaaaaa", "bbbbbbbb", "cccccccc"].map(|id| id.parse().unwrap())
    }

    fn turns(me: usize, now: Instant) -> DrainSchedule {
        let mut turns = DrainSchedule::new(ids()[me], 64, now);
        turns.share(ids().to_vec());
        assert_eq!(turns.due(now, true).len(), 64, "everything is looked at in the beginning");
        for index in 0..64 {
            turns.looked(index, None, now);
        }
        turns
    }

    #[test]
    fn every_source_is_somebodys_and_a_parting_moves_only_its_own() {
        let now = Instant::now();
        let owners = |alive: &[InstanceId]| {
            let of = |index: usize| {
                let mine = alive.iter().filter(|me| {
                    let mut turns = DrainSchedule::new(**me, 64, now);
                    turns.share(alive.to_vec());
                    turns.is_drained_here(index)
                });
                let mine: Vec<_> = mine.collect();
                assert_eq!(mine.len(), 1);
                *mine[0]
            };
            (0..64).map(of).collect::<Vec<_>>()
        };
        let (three, two) = (owners(&ids()), owners(&ids()[..2]));
        for (before, after) in three.iter().zip(&two) {
            assert!(before == after || *before == ids()[2]);
        }
    }

    #[test]
    fn who_owns_a_source_looks_at_once_and_the_others_later() {
        let now = Instant::now();
        for me in 0..3 {
            let mut turns = turns(me, now);
            turns.wake(5, now);
            let mine = turns.is_drained_here(5);
            assert_eq!(turns.due(now, true), if mine { vec![5] } else { vec![] });
            assert_eq!(turns.due(now + TAKEOVER, true), [5]);
        }
    }

    #[test]
    fn a_head_that_stands_is_taken_over_until_the_source_is_empty() {
        let mut now = Instant::now();
        let mut turns = turns(0, now);
        let foreign = (0..64).find(|index| !turns.is_drained_here(*index)).unwrap();
        turns.wake(foreign, now);
        now += TAKEOVER;
        assert_eq!(turns.looked(foreign, Some(HEAD), now), DrainDecision::Leave);
        now += TAKEOVER;
        assert_eq!(turns.due(now, true), [foreign]);
        assert_eq!(turns.looked(foreign, Some(OTHER), now), DrainDecision::Leave, "it moves on");
        now += TAKEOVER;
        assert_eq!(turns.looked(foreign, Some(OTHER), now), DrainDecision::Leave);
        assert_eq!(turns.due(now, true), [foreign], "now all of it is wanted");
        assert!(turns.is_drained_here(foreign));
        assert_eq!(turns.looked(foreign, Some(OTHER), now), DrainDecision::Drain);
        turns.looked(foreign, None, now);
        assert!(!turns.is_drained_here(foreign), "it is its owner's again");
    }

    #[test]
    fn everything_is_looked_at_now_and_then_and_often_while_nothing_is_told() {
        let now = Instant::now();
        let mut turns = turns(0, now);
        assert_eq!(turns.next(), now + SLOW);
        assert!(turns.due(now + SLOW / 2, true).is_empty());
        assert_eq!(turns.due(now + SLOW, false).len(), 64);
        for index in 0..64 {
            turns.looked(index, None, now + SLOW);
        }
        assert_eq!(turns.next(), now + SLOW + POLL);
    }
}
