//! Telling members of what the layer lost, at the place where it is missing.

use std::collections::HashSet;
use std::sync::Arc;

use super::join_buffer::ADDRESSED;
use super::members::{GroupKey, SeatKey};
use super::report::Dropped;
use super::shard::Shard;
use crate::event::Position;
use crate::group::GroupName;
use crate::protocol::outbound::{Gap, GapReason};

/// The gap where the layer may have lost publications: how many, and whether any, nobody knows.
pub(super) const FEARED: Gap =
    Gap { reason: GapReason::Layer, lost: None, range: None, possible: true };

/// Where the layer may have lost publications.
#[derive(Debug, Clone)]
pub struct PossibleGap {
    /// Whose; `None` = everybody's, also those for users, connections and all.
    pub groups: Option<Arc<[GroupName]>>,
    /// Groups of which it is known by now that nothing is missing.
    pub settled: Arc<HashSet<GroupName>>,
}

impl Shard {
    /// Tells everybody concerned that publications may be missing here.
    pub(super) fn notify_doubt(&mut self, doubt: &PossibleGap) {
        let groups = self.groups.named(doubt.groups.as_deref());
        for group in groups {
            // Telling may end a connection, and with it a group.
            let Some(held) = self.groups.try_get(group) else { continue };
            if doubt.settled.contains(&held.name) {
                continue;
            }
            for member in held.members.clone() {
                // Who waits for its join is told behind the answer.
                if !self.holds.doubt(member.seat, group) {
                    self.notify_gap(member.seat, Some(group), FEARED, Dropped::default());
                }
            }
        }
        if doubt.groups.is_none() {
            for key in self.seats.keys().collect::<Vec<_>>() {
                // Nothing comes before a welcome.
                if !self.holds.doubt(key, ADDRESSED) {
                    self.notify_gap(key, None, FEARED, Dropped::default());
                }
            }
        }
    }

    /// Tells the members of a group what is missing before the publication at `position`, which comes
    /// next. Who waits for its join will learn from the answer where it stands.
    pub(super) fn notify_hole(&mut self, group: GroupKey, position: &Position) {
        let held = self.groups.get(group);
        let Some(reached) = &held.reached else { return };
        if missing(reached, position).is_none() {
            return;
        }
        let stands = |seat: SeatKey, pending: bool| match pending {
            false => Some(reached),
            true => self.holds.behind(seat, group),
        };
        let concerned = held.members.iter().filter_map(|member| {
            let gap = missing(stands(member.seat, member.pending)?, position)?;
            Some((member.seat, gap))
        });
        for (seat, gap) in concerned.collect::<Vec<_>>() {
            self.notify_gap(seat, Some(group), gap, Dropped::default());
        }
    }

    /// How far these groups have come, or all if `None`: those that keep a history.
    pub(super) fn positions(&self, names: Option<&[GroupName]>) -> Vec<(GroupName, Position)> {
        let groups = self.groups.named(names).into_iter().map(|key| self.groups.get(key));
        groups.filter_map(|g| Some((g.name.clone(), g.reached.clone()?))).collect()
    }
}

/// What is missing between two positions of a group that follow each other.
///
/// A new epoch is a gap too, since nobody knows how much of the old one is missing.
pub(super) fn missing(before: &Position, after: &Position) -> Option<Gap> {
    let first = |offset| Position { offset, ..after.clone() };
    let last = after.offset.saturating_sub(1);
    if before.epoch != after.epoch {
        let range = Some((first(1), last));
        return Some(Gap { range, ..FEARED });
    }
    let lost = last.checked_sub(before.offset).filter(|lost| *lost > 0)?;
    let range = Some((first(before.offset + 1), last));
    Some(Gap { reason: GapReason::Layer, lost: Some(lost), range, possible: false })
}
