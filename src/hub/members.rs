//! The groups of one shard and who is in them: dense, so that a fan-out walks an array.

use std::collections::HashMap;

use slab::Slab;

use super::connections::Connections;
use super::report::Dropped;
use crate::event::Position;
use crate::group::GroupName;
use crate::socket::Limits;

/// Index of a group within its shard.
pub(super) type GroupKey = u32;

/// Index of a seat within its shard.
pub(super) type SeatKey = u32;

/// One group on one shard; it exists while it has members.
pub(super) struct Group {
    pub(super) name: GroupName,
    pub(super) limits: Limits,
    pub(super) members: Vec<Member>,
    pub(super) sent: u64,
    pub(super) dropped: Dropped,
    /// The newest position that every settled member has had, or need not have: seen live, or
    /// answered to the first of them.
    pub(super) reached: Option<Position>,
}

/// One member of a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) seat: SeatKey,
    /// Where the seat's [`Membership`] of this group stands.
    place: u16,
    /// Whether publications are held back for it until its join is answered.
    pub(super) pending: bool,
}

/// A seat's side of a membership.
#[derive(Debug, Clone, Copy)]
pub(super) struct Membership {
    pub(super) group: GroupKey,
    /// Where the group's [`Member`] stands.
    place: u32,
    /// Whether a back end made it: a new token does not end it then.
    pub(super) by_backend: bool,
}

/// All groups of one shard.
#[derive(Default)]
pub(super) struct Groups {
    by_name: HashMap<GroupName, GroupKey>,
    groups: Slab<Group>,
}

impl Groups {
    pub(super) fn find(&self, name: &GroupName) -> Option<GroupKey> {
        self.by_name.get(name).copied()
    }

    pub(super) fn get(&self, key: GroupKey) -> &Group {
        &self.groups[key as usize]
    }

    pub(super) fn get_mut(&mut self, key: GroupKey) -> &mut Group {
        &mut self.groups[key as usize]
    }

    /// The group, unless its last member has left since the key was taken.
    pub(super) fn try_get(&self, key: GroupKey) -> Option<&Group> {
        self.groups.get(key as usize)
    }

    /// As [`Groups::try_get`], to be changed.
    pub(super) fn try_get_mut(&mut self, key: GroupKey) -> Option<&mut Group> {
        self.groups.get_mut(key as usize)
    }

    /// The groups of these names that have members here; every group if `None`.
    pub(super) fn named(&self, names: Option<&[GroupName]>) -> Vec<GroupKey> {
        match names {
            Some(names) => names.iter().filter_map(|name| self.find(name)).collect(),
            None => self.groups.iter().map(|(key, _)| key as GroupKey).collect(),
        }
    }

    /// Finds or makes the group of this name.
    fn ensure(&mut self, name: &GroupName, limits: impl FnOnce() -> Limits) -> GroupKey {
        if let Some(key) = self.find(name) {
            return key;
        }
        let key = self.groups.insert(Group {
            name: name.clone(),
            limits: limits(),
            members: Vec::new(),
            sent: 0,
            dropped: Dropped::default(),
            reached: None,
        }) as GroupKey;
        self.by_name.insert(name.clone(), key);
        key
    }

    /// Makes `seat` a member whose publications are held back; `None` if it is one already.
    pub(super) fn join(
        &mut self,
        seats: &mut Connections,
        seat: SeatKey,
        name: &GroupName,
        by_backend: bool,
        limits: impl FnOnce() -> Limits,
    ) -> Option<GroupKey> {
        if self.held(seats, seat, name).is_some() {
            return None;
        }
        let key = self.ensure(name, limits);
        let members = &mut self.groups[key as usize].members;
        let memberships = &mut seats[seat].memberships;
        let place = members.len() as u32;
        memberships.push(Membership { group: key, place, by_backend });
        members.push(Member { seat, place: (memberships.len() - 1) as u16, pending: true });
        Some(key)
    }

    /// The group of this name, if `seat` is a member of it.
    pub(super) fn held(
        &self,
        seats: &Connections,
        seat: SeatKey,
        name: &GroupName,
    ) -> Option<GroupKey> {
        let key = self.find(name)?;
        // The shorter list is the seat's: at most `groups_per_connection`.
        seats[seat].memberships.iter().any(|m| m.group == key).then_some(key)
    }

    /// Lets publications through to `seat`, whose join is answered.
    pub(super) fn settle(&mut self, seats: &Connections, seat: SeatKey, group: GroupKey) {
        if let Some(m) = seats[seat].memberships.iter().find(|m| m.group == group) {
            self.groups[group as usize].members[m.place as usize].pending = false;
        }
    }

    /// Ends a membership; the group's name if that was its last member here.
    pub(super) fn leave(
        &mut self,
        seats: &mut Connections,
        seat: SeatKey,
        group: GroupKey,
    ) -> Option<GroupName> {
        let place = seats[seat].memberships.iter().position(|m| m.group == group)?;
        let membership = seats[seat].memberships.swap_remove(place);
        if let Some(moved) = seats[seat].memberships.get(place) {
            let members = &mut self.groups[moved.group as usize].members;
            members[moved.place as usize].place = place as u16;
        }
        let members = &mut self.groups[group as usize].members;
        members.swap_remove(membership.place as usize);
        if let Some(moved) = members.get(membership.place as usize) {
            seats[moved.seat].memberships[moved.place as usize].place = membership.place;
        }
        if !members.is_empty() {
            return None;
        }
        let group = self.groups.remove(group as usize);
        self.by_name.remove(&group.name);
        Some(group.name)
    }
}

impl Group {
    /// Whether every settled member has had `position`, or need not have it.
    pub(super) fn has_reached(&self, position: &Position) -> bool {
        let reached = self.reached.as_ref().filter(|reached| reached.epoch == position.epoch);
        reached.is_some_and(|reached| reached.offset >= position.offset)
    }
}
