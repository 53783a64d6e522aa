//! Notifying members of what the layer lost, at the place where it is missing.

use super::Delivery;
use crate::event::Position;
use crate::group::GroupName;
use crate::hub::command::PossibleGap;
use crate::hub::report::Dropped;
use crate::hub::store::{ConnectionKey, GroupKey, Groups};
use crate::protocol::outbound::{Gap, GapReason};

/// The gap where the layer may have lost publications: how many, and whether any, nobody knows.
pub(in crate::hub) const POSSIBLE_GAP: Gap =
    Gap { reason: GapReason::Layer, lost: None, range: None, possible: true };

impl Delivery<'_> {
    /// Notifies every connection concerned that publications may be missing here.
    pub(in crate::hub) fn notify_possible_gap(&mut self, gap: &PossibleGap) {
        for key in self.groups.named(gap.groups.as_deref()) {
            let Some(group) = self.groups.get(key) else { continue };
            if gap.settled.contains(&group.name) {
                continue;
            }
            // Copied: notifying counts with the group.
            for member in group.members().to_vec() {
                self.notify_one_of_possible_gap(member.connection, Some(key));
            }
        }
        if gap.groups.is_none() {
            for key in self.connections.keys().collect::<Vec<_>>() {
                self.notify_one_of_possible_gap(key, None);
            }
        }
    }

    /// A connection that awaits the answer to its join, or its welcome, is notified behind it.
    fn notify_one_of_possible_gap(&mut self, key: ConnectionKey, group: Option<GroupKey>) {
        if !self.joins.note_possible_gap(key, group) {
            self.notify_gap(key, group, POSSIBLE_GAP, &Dropped::default());
        }
    }

    /// Notifies the members of a group of what is missing before the publication at `position`,
    /// which comes next. A member that awaits its join learns from the answer where it is.
    pub(super) fn notify_hole(&mut self, key: GroupKey, position: &Position) {
        let Some(group) = self.groups.get(key) else { return };
        let Some(reached) = group.reached() else { return };
        if missing(reached, position).is_none() {
            return;
        }
        let concerned = group.members().iter().filter_map(|member| {
            let before = match member.is_joining {
                false => Some(reached),
                true => self.joins.catching_up(member.connection, key),
            };
            let gap = missing(before?, position)?;
            Some((member.connection, gap))
        });
        for (connection, gap) in concerned.collect::<Vec<_>>() {
            self.notify_gap(connection, Some(key), gap, &Dropped::default());
        }
    }
}

/// How far these groups have come, or all if `None`: those that keep a history.
pub(in crate::hub) fn positions(
    groups: &Groups,
    names: Option<&[GroupName]>,
) -> Vec<(GroupName, Position)> {
    let named = groups.named(names);
    let held = named.into_iter().filter_map(|key| groups.get(key));
    held.filter_map(|group| Some((group.name.clone(), group.reached()?.clone()))).collect()
}

/// What is missing between two positions of a group that follow each other.
///
/// A new epoch is a gap too, since nobody knows how much of the old one is missing.
pub(in crate::hub) fn missing(before: &Position, after: &Position) -> Option<Gap> {
    let first = |offset| Position { offset, ..after.clone() };
    let last = after.offset.saturating_sub(1);
    if before.epoch != after.epoch {
        let range = Some((first(1), last));
        return Some(Gap { range, ..POSSIBLE_GAP });
    }
    let lost = last.checked_sub(before.offset).filter(|lost| *lost > 0)?;
    let range = Some((first(before.offset + 1), last));
    Some(Gap { reason: GapReason::Layer, lost: Some(lost), range, possible: false })
}
