//! The state of each join in progress, and what is held back for it.
//!
//! A joining member receives live publications while its position and replay are still being
//! fetched. They are held back, and follow the replay without gap, duplicate or reorder.
//!
//! ```text
//! join ─► Awaiting ─┬─ answered ───────────────────────────────────────────► live
//!                   ├─ answered ahead of here ─► CatchingUp ─ first newer ─► live
//!                   └─ refused, left, closed ──────────────────────────────► no member
//! ```
//!
//! Live members and non-members have no state here: [`GroupMember::is_joining`] keeps a fan-out
//! from asking for it.
//!
//! [`GroupMember::is_joining`]: super::groups::GroupMember::is_joining

use std::collections::HashMap;
use std::sync::Arc;

use super::keys::{ConnectionKey, GroupKey};
use crate::event::{Position, Publication};
use crate::protocol::outbound::{Gap, GapReason, Notice};

/// The joins of one shard. Usually empty.
///
/// `None` is for events addressed to an arriving connection itself, which must follow its
/// `welcome`.
#[derive(Default)]
pub(in crate::hub) struct Joins {
    states: HashMap<(ConnectionKey, Option<GroupKey>), JoinState>,
    last_ticket: u64,
}

enum JoinState {
    /// The layer was asked with this ticket. Publications are buffered until it answers.
    Awaiting { ticket: u64, buffer: JoinBuffer },
    /// Answered with a position ahead of the live publications here. Those up to it are dropped,
    /// since they were replayed or are not wanted.
    CatchingUp(Position),
}

/// How an answer relates to a membership.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hub) enum JoinAnswer {
    /// It ends the join that awaits it.
    Expected,
    /// The group was left, and joined again since: the later join has its own answer.
    Superseded,
    /// The group was already joined: nothing changes, and nothing is replayed.
    AlreadyHeld,
}

/// What happens with a publication for a member that is joining.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hub) enum Buffered {
    /// It is buffered, or is already known.
    Held,
    /// It is the first new one: the member is live from now on.
    Live,
}

/// What waits for a join's answer.
#[derive(Default)]
pub(in crate::hub) struct JoinBuffer {
    /// Oldest first.
    pub(in crate::hub) publications: Vec<Arc<Publication>>,
    bytes: usize,
    /// The publications that were not kept, since a limit was reached.
    missed: Option<Missed>,
    /// Whether the layer may have lost publications in the meantime.
    pub(in crate::hub) possible_gap: bool,
}

struct Missed {
    count: u64,
    /// Further ones that are not for this member.
    left_out: u64,
    /// First and last, where the group has positions.
    range: Option<(Position, u64)>,
}

impl Joins {
    /// A new number that identifies the answer to a join.
    pub(in crate::hub) fn next_ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// Holds a new membership back until the join with this ticket is answered.
    pub(in crate::hub) fn begin(
        &mut self,
        connection: ConnectionKey,
        group: Option<GroupKey>,
        ticket: u64,
    ) {
        let state = JoinState::Awaiting { ticket, buffer: JoinBuffer::default() };
        self.states.insert((connection, group), state);
    }

    /// Whether a membership awaits its answer.
    pub(in crate::hub) fn is_awaiting(
        &self,
        connection: ConnectionKey,
        group: Option<GroupKey>,
    ) -> bool {
        matches!(self.states.get(&(connection, group)), Some(JoinState::Awaiting { .. }))
    }

    /// What the answer with this ticket means to a membership.
    pub(in crate::hub) fn judge(
        &self,
        connection: ConnectionKey,
        group: GroupKey,
        ticket: u64,
    ) -> JoinAnswer {
        match self.states.get(&(connection, Some(group))) {
            Some(JoinState::Awaiting { ticket: own, .. }) if *own == ticket => JoinAnswer::Expected,
            Some(JoinState::Awaiting { ticket: own, .. }) if *own > ticket => {
                JoinAnswer::Superseded
            }
            _ => JoinAnswer::AlreadyHeld,
        }
    }

    /// Drops live publications up to `position`, which was answered ahead of them.
    pub(in crate::hub) fn catch_up(
        &mut self,
        connection: ConnectionKey,
        group: GroupKey,
        position: Position,
    ) {
        self.states.insert((connection, Some(group)), JoinState::CatchingUp(position));
    }

    /// Offers a publication to a member that is joining; at most so many and so many bytes are
    /// kept. One that is not for this member is kept, too, for its position.
    pub(in crate::hub) fn offer(
        &mut self,
        connection: ConnectionKey,
        group: Option<GroupKey>,
        publication: &Arc<Publication>,
        bound: (u32, usize),
        is_left_out: bool,
    ) -> Buffered {
        match self.states.get_mut(&(connection, group)) {
            Some(JoinState::Awaiting { buffer, .. }) => {
                buffer.keep(publication, bound, is_left_out);
            }
            Some(JoinState::CatchingUp(position)) => {
                if is_newer(publication, Some(position)) {
                    self.states.remove(&(connection, group));
                    return Buffered::Live;
                }
            }
            None => return Buffered::Live,
        }
        Buffered::Held
    }

    /// Records a possible loss for a member that awaits its answer. Returns whether it does.
    pub(in crate::hub) fn note_possible_gap(
        &mut self,
        connection: ConnectionKey,
        group: Option<GroupKey>,
    ) -> bool {
        let state = self.states.get_mut(&(connection, group));
        let Some(JoinState::Awaiting { buffer, .. }) = state else { return false };
        buffer.possible_gap = true;
        true
    }

    /// The answered position that live publications have not reached yet.
    pub(in crate::hub) fn catching_up(
        &self,
        connection: ConnectionKey,
        group: GroupKey,
    ) -> Option<&Position> {
        match self.states.get(&(connection, Some(group))) {
            Some(JoinState::CatchingUp(position)) => Some(position),
            Some(JoinState::Awaiting { .. }) | None => None,
        }
    }

    /// Ends a join that was answered, refused or left. Returns what was held back for it.
    pub(in crate::hub) fn end(
        &mut self,
        connection: ConnectionKey,
        group: Option<GroupKey>,
    ) -> JoinBuffer {
        let ended = self.states.remove(&(connection, group));
        // Memory of a wave of joins is released.
        if self.states.capacity() > 1024 && self.states.is_empty() {
            self.states = HashMap::new();
        }
        match ended {
            Some(JoinState::Awaiting { buffer, .. }) => buffer,
            Some(JoinState::CatchingUp(_)) | None => JoinBuffer::default(),
        }
    }

    #[cfg(test)]
    pub(in crate::hub) fn len(&self) -> usize {
        self.states.len()
    }
}

impl JoinBuffer {
    fn keep(
        &mut self,
        publication: &Arc<Publication>,
        (capacity, max_bytes): (u32, usize),
        is_left_out: bool,
    ) {
        let bytes = self.bytes + publication.event.json().len();
        let fits = self.publications.len() < capacity as usize && bytes <= max_bytes;
        // Once one is missed, later ones are missed, too: there is a single gap.
        if fits && self.missed.is_none() {
            self.bytes = bytes;
            self.publications.push(Arc::clone(publication));
            return;
        }
        let missed = self.missed.get_or_insert_with(|| {
            let first = publication.position.clone();
            Missed { count: 0, left_out: 0, range: first.map(|first| (first, 0)) }
        });
        match is_left_out {
            true => missed.left_out += 1,
            false => missed.count += 1,
        }
        if let (Some((_, last)), Some(position)) = (&mut missed.range, &publication.position) {
            *last = position.offset;
        }
    }

    /// The number of publications lost if this buffer is dropped.
    pub(in crate::hub) fn len(&self) -> u64 {
        self.publications.len() as u64 + self.missed.as_ref().map_or(0, |missed| missed.count)
    }

    /// The publications missed after those kept, without those in the replay up to `answered`.
    pub(in crate::hub) fn missed(self, answered: Option<&Position>) -> Option<Notice> {
        let Missed { count, left_out, mut range } = self.missed?;
        let mut lost = Some(count);
        if let (Some((first, last)), Some(answered)) = (&mut range, answered)
            && first.epoch == answered.epoch
        {
            let is_cut = answered.offset >= first.offset;
            first.offset = first.offset.max(answered.offset + 1);
            if *last < first.offset {
                return None;
            }
            lost = match (left_out, is_cut) {
                (0, _) => Some(*last - first.offset + 1),
                (_, false) => Some(count),
                // It is unknown how many of them are in the replay.
                (_, true) => None,
            };
        }
        match (lost, range) {
            (Some(0), Some((first, last))) => {
                Some(Notice::Position(Position { offset: last, ..first }))
            }
            (lost, range) => {
                Some(Notice::Gap(Gap { reason: GapReason::Slow, lost, range, possible: false }))
            }
        }
    }
}

/// Whether a publication comes after `position`, as far as they can be compared.
pub(in crate::hub) fn is_newer(publication: &Publication, position: Option<&Position>) -> bool {
    match (&publication.position, position) {
        (Some(own), Some(other)) => !own.is_covered_by(other),
        _ => true,
    }
}
