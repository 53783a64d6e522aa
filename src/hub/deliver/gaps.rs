//! Reports publications lost by the layer to members, at the place of the loss.

use super::Delivery;
use crate::event::Position;
use crate::group::GroupName;
use crate::hub::command::PossibleGap;
use crate::hub::report::Dropped;
use crate::hub::store::{ConnectionKey, GroupKey, Groups};
use crate::protocol::outbound::{Gap, GapReason};

/// The gap for publications that the layer may have lost: it is unknown how many, or whether any.
pub(in crate::hub) const POSSIBLE_GAP: Gap =
    Gap { reason: GapReason::Layer, lost: None, range: None, possible: true };

impl Delivery<'_> {
    /// Notifies every connection concerned that publications may be missing at this place.
    pub(in crate::hub) fn notify_possible_gap(&mut self, gap: &PossibleGap) {
        for key in self.groups.named(gap.groups.as_deref()) {
            let Some(group) = self.groups.get(key) else { continue };
            if gap.settled.contains(&group.name) || !self.groups.note_possible_gap(key) {
                continue;
            }
            // Copied: notifying changes the group's counts.
            let members = self.groups.get(key).map_or(&[][..], |group| group.members()).to_vec();
            for member in members {
                self.notify_one_of_possible_gap(member.connection, Some(key));
            }
        }
        if gap.groups.is_none() {
            for key in self.connections.keys().collect::<Vec<_>>() {
                self.notify_one_of_possible_gap(key, None);
            }
        }
    }

    /// A connection that awaits its welcome or the answer to its join gets the gap after it.
    fn notify_one_of_possible_gap(&mut self, key: ConnectionKey, group: Option<GroupKey>) {
        if !self.joins.note_possible_gap(key, group) {
            self.notify_gap(key, group, POSSIBLE_GAP, &Dropped::default());
        }
    }

    /// Reports what is missing before the publication at `position` to the members of its group.
    /// Members whose join is pending learn their position from its answer.
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

/// The positions of these groups, or of all if `None`, as far as they keep a history.
pub(in crate::hub) fn positions(
    groups: &Groups,
    names: Option<&[GroupName]>,
) -> Vec<(GroupName, Position)> {
    let named = groups.named(names);
    let held = named.into_iter().filter_map(|key| groups.get(key));
    held.filter_map(|group| Some((group.name.clone(), group.reached()?.clone()))).collect()
}

/// What is missing between two successive positions of a group.
///
/// A new epoch is a gap, too, since it is unknown how much of the old one is missing. The first one
/// of a group is not: clients go on under the name that their answer gave.
pub(in crate::hub) fn missing(before: &Position, after: &Position) -> Option<Gap> {
    let first = |offset| Position { offset, ..after.clone() };
    let last = after.offset.saturating_sub(1);
    if before.epoch != after.epoch && !before.is_before_first_of(after) {
        let range = Some((first(1), last));
        return Some(Gap { range, ..POSSIBLE_GAP });
    }
    let lost = last.checked_sub(before.offset).filter(|lost| *lost > 0)?;
    let range = Some((first(before.offset + 1), last));
    Some(Gap { reason: GapReason::Layer, lost: Some(lost), range, possible: false })
}
