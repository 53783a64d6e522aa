//! Decides which instance drains which source, and when. This is only a preference: two instances
//! may drain the same source without harm.
//!
//! Each source has one instance that reads it as soon as something was written. The others check a
//! moment later whether the same entry is still at its head, and take over if so.

use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};

use crate::event::{InstanceId, PublicationId};

/// How long an entry may stay at the head of a source before any instance drains it.
pub(super) const TAKEOVER: Duration = Duration::from_millis(100);

/// Time between two reads of all sources, in case a notification of a write was lost.
const FULL_LOOK: Duration = Duration::from_secs(1);

/// Time between two reads while Redis sends no notifications of writes.
const POLL: Duration = Duration::from_millis(50);

/// The schedule of one instance.
#[derive(Debug)]
pub(super) struct DrainSchedule {
    me: InstanceId,
    /// The instances that share the sources; empty = not known yet.
    instances: Vec<InstanceId>,
    slots: Vec<Slot>,
    next_look: Instant,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    mine: bool,
    /// Taken over from another instance, until it is empty.
    taken_over: bool,
    /// When to read it; `None` = when something is written.
    due: Option<Instant>,
    /// The head of another instance's source, and since when.
    head: Option<(PublicationId, Instant)>,
}

/// Whether this instance drains what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DrainDecision {
    /// Assigned to this instance.
    Drain,
    /// Assigned to another instance.
    Leave,
}

impl DrainSchedule {
    pub(super) fn new(me: InstanceId, sources: usize, now: Instant) -> Self {
        let slots = vec![Slot::default(); sources];
        Self { me, instances: Vec::new(), slots, next_look: now }
    }

    /// Shares the sources among `instances` by rendezvous hashing: an instance that joins or leaves
    /// moves only its own.
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

    /// Something may have been written to any source.
    pub(super) fn wake_all(&mut self, now: Instant) {
        (0..self.slots.len()).for_each(|index| self.wake(index, now));
    }

    /// Whether all sources are to be read now.
    pub(super) fn is_full_look(&self, now: Instant) -> bool {
        now >= self.next_look
    }

    /// The sources to read now, those that have waited longest first. `notified` = Redis sends
    /// notifications of writes.
    pub(super) fn due(&mut self, now: Instant, notified: bool) -> Vec<usize> {
        if self.is_full_look(now) {
            self.next_look = now + if notified { FULL_LOOK } else { POLL };
            (0..self.slots.len()).for_each(|index| self.again(index, now));
        }
        let due = |index: &usize| self.slots[*index].due.is_some_and(|due| due <= now);
        let mut due: Vec<_> = (0..self.slots.len()).filter(due).collect();
        due.sort_by_key(|index| self.slots[*index].due);
        due
    }

    /// When to read again if nothing is written.
    pub(super) fn next(&self) -> Instant {
        let due = self.slots.iter().filter_map(|slot| slot.due);
        due.min().map_or(self.next_look, |due| due.min(self.next_look))
    }

    /// Whether to read a whole batch of a source, rather than its head.
    pub(super) fn is_drained_here(&self, index: usize) -> bool {
        self.slots[index].is_drained_here()
    }

    /// A source was read, with this entry at its head.
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

    /// A source could not be read; it is not tried again before `when`.
    pub(super) fn put_off(&mut self, index: usize, when: Instant) {
        self.slots[index].due = Some(when);
    }

    /// A source holds more than was read, or may have received something new.
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

    fn schedule(me: usize, now: Instant) -> DrainSchedule {
        let mut schedule = DrainSchedule::new(ids()[me], 64, now);
        schedule.share(ids().to_vec());
        assert_eq!(schedule.due(now, true).len(), 64, "everything is looked at in the beginning");
        for index in 0..64 {
            schedule.looked(index, None, now);
        }
        schedule
    }

    #[test]
    fn gives_each_source_one_owner_and_reassigns_only_those_of_a_departed_instance() {
        let now = Instant::now();
        let owners = |alive: &[InstanceId]| {
            let of = |index: usize| {
                let mine = alive.iter().filter(|me| {
                    let mut schedule = DrainSchedule::new(**me, 64, now);
                    schedule.share(alive.to_vec());
                    schedule.is_drained_here(index)
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
    fn the_owner_reads_immediately_and_others_later() {
        let now = Instant::now();
        for me in 0..3 {
            let mut schedule = schedule(me, now);
            schedule.wake(5, now);
            let mine = schedule.is_drained_here(5);
            assert_eq!(schedule.due(now, true), if mine { vec![5] } else { vec![] });
            assert_eq!(schedule.due(now + TAKEOVER, true), [5]);
        }
    }

    #[test]
    fn takes_over_a_source_whose_head_does_not_move_until_it_is_empty() {
        let mut now = Instant::now();
        let mut schedule = schedule(0, now);
        let foreign = (0..64).find(|index| !schedule.is_drained_here(*index)).unwrap();
        schedule.wake(foreign, now);
        now += TAKEOVER;
        assert_eq!(schedule.looked(foreign, Some(HEAD), now), DrainDecision::Leave);
        now += TAKEOVER;
        assert_eq!(schedule.due(now, true), [foreign]);
        assert_eq!(schedule.looked(foreign, Some(OTHER), now), DrainDecision::Leave, "it moves on");
        now += TAKEOVER;
        assert_eq!(schedule.looked(foreign, Some(OTHER), now), DrainDecision::Leave);
        assert_eq!(schedule.due(now, true), [foreign], "now all of it is wanted");
        assert!(schedule.is_drained_here(foreign));
        assert_eq!(schedule.looked(foreign, Some(OTHER), now), DrainDecision::Drain);
        schedule.looked(foreign, None, now);
        assert!(!schedule.is_drained_here(foreign), "it is its owner's again");
    }

    #[test]
    fn reads_every_source_each_second_and_polls_without_notifications() {
        let now = Instant::now();
        let mut schedule = schedule(0, now);
        assert_eq!(schedule.next(), now + FULL_LOOK);
        assert!(schedule.due(now + FULL_LOOK / 2, true).is_empty());
        assert_eq!(schedule.due(now + FULL_LOOK, false).len(), 64);
        for index in 0..64 {
            schedule.looked(index, None, now + FULL_LOOK);
        }
        assert_eq!(schedule.next(), now + FULL_LOOK + POLL);
    }
}
