//! Publications held back for members whose join is not answered yet.
//!
//! A join has its live publications from the moment the shard knows of it, while its position and
//! replay are still being fetched; held back until then, they follow the replay without gap,
//! duplicate or reorder.

use std::collections::HashMap;
use std::sync::Arc;

use super::members::{GroupKey, SeatKey};
use crate::event::{Position, Publication};
use crate::protocol::outbound::{Gap, GapReason};

/// In place of a group: what is addressed to an arriving connection itself, which has to follow its
/// `welcome`.
pub(super) const ADDRESSED: GroupKey = GroupKey::MAX;

/// What is held back on one shard; empty but for the moments of joins.
#[derive(Default)]
pub(super) struct JoinBuffer {
    held: HashMap<(SeatKey, GroupKey), Hold>,
    /// The last ticket given out.
    ticket: u64,
}

enum Hold {
    /// The join with this ticket is not answered.
    Waiting(u64, Waiting),
    /// Answered with a position that the live publications have not reached here: what comes up to
    /// it was replayed, or is not wanted.
    Behind(Position),
}

/// What waits for a join's answer.
#[derive(Default)]
pub(super) struct Waiting {
    /// Oldest first.
    pub(super) publications: Vec<Arc<Publication>>,
    bytes: usize,
    /// The publications behind those that were not kept, since a bound was reached.
    missed: Option<Missed>,
    /// Whether the layer may have lost some meanwhile.
    pub(super) doubtful: bool,
}

struct Missed {
    count: u64,
    /// First and last, where the group has positions.
    range: Option<(Position, u64)>,
}

/// What becomes of a publication that meets a member whose publications are held back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BufferOutcome {
    /// It waits, or is known already.
    Held,
    /// It is the first that is new: from now on everything is.
    Through,
}

impl JoinBuffer {
    /// A number by which the answer to a join is known.
    pub(super) fn ticket(&mut self) -> u64 {
        self.ticket += 1;
        self.ticket
    }

    /// JoinBuffer a new membership back until the join with this ticket is answered.
    pub(super) fn begin(&mut self, seat: SeatKey, group: GroupKey, ticket: u64) {
        self.held.insert((seat, group), Hold::Waiting(ticket, Waiting::default()));
    }

    /// The ticket that a membership waits for, if it does.
    pub(super) fn waits_for(&self, seat: SeatKey, group: GroupKey) -> Option<u64> {
        match self.held.get(&(seat, group)) {
            Some(Hold::Waiting(ticket, _)) => Some(*ticket),
            Some(Hold::Behind(_)) | None => None,
        }
    }

    /// Lets nothing through up to `position`, which was answered ahead of the live publications.
    pub(super) fn follow(&mut self, seat: SeatKey, group: GroupKey, position: Position) {
        self.held.insert((seat, group), Hold::Behind(position));
    }

    /// Keeps `publication` for a member that waits, up to so many and so many bytes.
    pub(super) fn meet(
        &mut self,
        seat: SeatKey,
        group: GroupKey,
        publication: &Arc<Publication>,
        bound: (u32, usize),
    ) -> BufferOutcome {
        match self.held.get_mut(&(seat, group)) {
            Some(Hold::Waiting(_, waiting)) => waiting.keep(publication, bound),
            Some(Hold::Behind(position)) => {
                if is_newer(publication, Some(position)) {
                    self.held.remove(&(seat, group));
                    return BufferOutcome::Through;
                }
            }
            None => return BufferOutcome::Through,
        }
        BufferOutcome::Held
    }

    /// Notes for a member that waits that the layer may have lost publications; whether it waits.
    pub(super) fn doubt(&mut self, seat: SeatKey, group: GroupKey) -> bool {
        let Some(Hold::Waiting(_, waiting)) = self.held.get_mut(&(seat, group)) else {
            return false;
        };
        waiting.doubtful = true;
        true
    }

    /// The position that was answered to a member and that the live publications have yet to reach.
    pub(super) fn behind(&self, seat: SeatKey, group: GroupKey) -> Option<&Position> {
        match self.held.get(&(seat, group)) {
            Some(Hold::Behind(position)) => Some(position),
            Some(Hold::Waiting(..)) | None => None,
        }
    }

    /// Ends the hold of a member: its join is answered, or it is gone.
    pub(super) fn end(&mut self, seat: SeatKey, group: GroupKey) -> Waiting {
        let ended = self.held.remove(&(seat, group));
        // A wave of arrivals must not stay resident as an empty table.
        if self.held.is_empty() && self.held.capacity() > 1024 {
            self.held = HashMap::new();
        }
        match ended {
            Some(Hold::Waiting(_, waiting)) => waiting,
            Some(Hold::Behind(_)) | None => Waiting::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}

impl Waiting {
    fn keep(&mut self, publication: &Arc<Publication>, (capacity, max_bytes): (u32, usize)) {
        let bytes = self.bytes + publication.event.json().len();
        let fits = self.publications.len() < capacity as usize && bytes <= max_bytes;
        // Once one is missed, so are those behind it: the gap has one place.
        if fits && self.missed.is_none() {
            self.bytes = bytes;
            self.publications.push(Arc::clone(publication));
            return;
        }
        let missed = self.missed.get_or_insert_with(|| {
            let first = publication.position.clone();
            Missed { count: 0, range: first.map(|first| (first, 0)) }
        });
        missed.count += 1;
        if let (Some((_, last)), Some(position)) = (&mut missed.range, &publication.position) {
            *last = position.offset;
        }
    }

    /// How many are lost if nothing of this is delivered.
    pub(super) fn len(&self) -> u64 {
        self.publications.len() as u64 + self.missed.as_ref().map_or(0, |missed| missed.count)
    }

    /// The gap behind the publications kept, without what stands in the replay up to `answered`.
    pub(super) fn gap(self, answered: Option<&Position>) -> Option<Gap> {
        let Missed { mut count, mut range } = self.missed?;
        if let (Some((first, last)), Some(answered)) = (&mut range, answered)
            && first.epoch == answered.epoch
        {
            first.offset = first.offset.max(answered.offset + 1);
            if *last < first.offset {
                return None;
            }
            count = *last - first.offset + 1;
        }
        Some(Gap { reason: GapReason::Slow, lost: Some(count), range, possible: false })
    }
}

/// Whether a publication comes after `position`, as far as they can be compared.
pub(super) fn is_newer(publication: &Publication, position: Option<&Position>) -> bool {
    match (&publication.position, position) {
        (Some(own), Some(other)) => own.epoch != other.epoch || own.offset > other.offset,
        _ => true,
    }
}
