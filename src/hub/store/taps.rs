//! Copies of one group's publications for operators who look at them live.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::Publication;
use crate::group::GroupName;

/// Groups that may be looked at at once.
const MAX_TAPS: usize = 8;

/// Publications that wait for the next reading of one tap.
const MAX_EVENTS: usize = 128;

/// Seconds after which a tap that nobody has read ends.
const LAPSE: u32 = 10;

/// The taps of a shard.
#[derive(Default)]
pub(super) struct Taps(Vec<Tap>);

struct Tap {
    group: GroupName,
    /// Of the reader: two who look at one group get all of it each.
    reader: u64,
    events: VecDeque<Arc<Publication>>,
    /// Publications without room since the last reading.
    missed: u64,
    /// Second of the shard's clock of the last reading.
    read: u32,
}

impl Taps {
    /// Keeps a publication for those who look at its group. The usual case has no taps at all.
    pub(super) fn offer(&mut self, group: &GroupName, publication: &Arc<Publication>) {
        for tap in self.0.iter_mut().filter(|tap| tap.group == *group) {
            match tap.events.len() < MAX_EVENTS {
                true => tap.events.push_back(Arc::clone(publication)),
                false => tap.missed += 1,
            }
        }
    }

    /// What has come since the last reading, and how much found no room. The first reading begins
    /// it; beyond the bound there is none, and nothing comes.
    pub(super) fn read(
        &mut self,
        group: &GroupName,
        reader: u64,
        second: u32,
    ) -> (Vec<Arc<Publication>>, u64) {
        if let Some(tap) = self.0.iter_mut().find(|t| t.reader == reader && t.group == *group) {
            tap.read = second;
            return (tap.events.drain(..).collect(), std::mem::take(&mut tap.missed));
        }
        self.lapse(second);
        if self.0.len() < MAX_TAPS {
            let (group, events) = (group.clone(), VecDeque::new());
            self.0.push(Tap { group, reader, events, missed: 0, read: second });
        }
        (Vec::new(), 0)
    }

    /// Ends the taps that nobody reads.
    pub(super) fn lapse(&mut self, second: u32) {
        self.0.retain(|tap| second.saturating_sub(tap.read) <= LAPSE);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
