//! The groups of one shard and their members, in dense arrays for fast fan-out.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use slab::Slab;

use super::connections::Connections;
use super::keys::{ConnectionKey, GroupKey, Membership};
use super::rates::{CountedGroup, RateSketch};
use super::taps::Taps;
use crate::event::{Position, Publication};
use crate::group::{GroupName, MemberCounts};
use crate::hub::report::Dropped;
use crate::socket::Limits;

/// One group on one shard; it exists while it has members.
pub(in crate::hub) struct Group {
    pub(in crate::hub) name: GroupName,
    pub(in crate::hub) limits: Limits,
    generation: u32,
    members: Vec<GroupMember>,
    sent: u64,
    /// Once there are any.
    dropped: Option<Box<Dropped>>,
    /// The newest position that every live member has passed: delivered live, or answered to the
    /// first of them.
    reached: Option<Position>,
    /// Whether the last thing sent to its members was a possible gap: another would be redundant.
    ends_in_gap: bool,
    /// Second of the shard's clock of the last publication for members.
    last_sent: Option<NonZeroU32>,
}

/// One member of a group, in eight bytes, since a fan-out reads them all.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub) struct GroupMember {
    pub(in crate::hub) connection: ConnectionKey,
    /// The index of the connection's [`Membership`] of this group.
    place: u16,
    /// Whether publications are held back for it: its state is in [`Joins`](super::Joins).
    pub(in crate::hub) is_joining: bool,
}

/// All groups of one shard.
#[derive(Default)]
pub(in crate::hub) struct Groups {
    by_name: HashMap<GroupName, GroupKey>,
    groups: Slab<Group>,
    /// Of the newest group.
    generation: u32,
    /// Counts publications by group while somebody looks.
    rates: Option<Box<RateSketch>>,
    taps: Taps,
    /// Members of the large ones, of all shards.
    member_counts: Arc<MemberCounts>,
    /// By group, a type of event that a route did not list.
    unlisted: HashMap<GroupName, Box<str>>,
}

/// Groups of which an unlisted type of event is remembered.
const MAX_UNLISTED: usize = 256;

impl Groups {
    /// None yet; their members will be counted in `member_counts`.
    pub(in crate::hub) fn counted_in(member_counts: Arc<MemberCounts>) -> Self {
        Self { member_counts, ..Self::default() }
    }

    pub(in crate::hub) fn find(&self, name: &GroupName) -> Option<GroupKey> {
        self.by_name.get(name).copied()
    }

    /// The group, unless its last member has left since the key was taken.
    pub(in crate::hub) fn get(&self, key: GroupKey) -> Option<&Group> {
        let group = self.groups.get(key.index as usize);
        group.filter(|group| group.generation == key.generation)
    }

    fn get_mut(&mut self, key: GroupKey) -> Option<&mut Group> {
        let group = self.groups.get_mut(key.index as usize);
        group.filter(|group| group.generation == key.generation)
    }

    /// The limits of a group, or of other targets.
    pub(in crate::hub) fn limits_of(&self, key: Option<GroupKey>) -> Limits {
        key.and_then(|key| self.get(key)).map_or_else(Limits::default, |group| group.limits)
    }

    /// The groups of these names that have members here; every group if `None`.
    pub(in crate::hub) fn named(&self, names: Option<&[GroupName]>) -> Vec<GroupKey> {
        match names {
            Some(names) => names.iter().filter_map(|name| self.find(name)).collect(),
            None => {
                let all = self.groups.iter();
                let key = |index: usize, group: &Group| GroupKey {
                    index: index as u32,
                    generation: group.generation,
                };
                all.map(|(index, group)| key(index, group)).collect()
            }
        }
    }

    /// Counts publications linked to members' frames.
    pub(in crate::hub) fn count_sent(&mut self, key: GroupKey, receivers: u64, second: u32) {
        if let Some(group) = self.get_mut(key) {
            group.sent += receivers;
            group.ends_in_gap = false;
            group.last_sent = NonZeroU32::new(second + 1);
        }
        if let Some(rates) = &mut self.rates {
            rates.count(key);
        }
    }

    /// Keeps a publication for operators who look at its group, if there are any.
    pub(in crate::hub) fn show(&mut self, key: GroupKey, publication: &Arc<Publication>) {
        if self.taps.is_empty() {
            return;
        }
        if let Some(group) = self.groups.get(key.index as usize) {
            self.taps.offer(&group.name, publication);
        }
    }

    /// Remembers that a route does not list this type of event, which came for the group.
    pub(in crate::hub) fn note_unlisted(&mut self, key: GroupKey, kind: &str) {
        let Some(group) = self.groups.get(key.index as usize) else { return };
        let is_full = self.unlisted.len() >= MAX_UNLISTED;
        match self.unlisted.get_mut(&group.name) {
            Some(known) if **known == *kind => {}
            Some(known) => *known = kind.into(),
            None if is_full => {}
            None => drop(self.unlisted.insert(group.name.clone(), kind.into())),
        }
    }

    /// A type of event of the group that a route did not list.
    pub(in crate::hub) fn unlisted(&self, name: &GroupName) -> Option<&str> {
        self.unlisted.get(name).map(|kind| &**kind)
    }

    /// Publications by group since the last reading. The first reading begins the count.
    pub(in crate::hub) fn read_rates(&mut self, second: u32) -> Vec<CountedGroup> {
        self.rates.get_or_insert_with(|| Box::new(RateSketch::new(second))).read(second)
    }

    /// What has come for a group since the reader's last reading, which begins with the first.
    pub(in crate::hub) fn read_tap(
        &mut self,
        group: &GroupName,
        reader: u64,
        second: u32,
    ) -> (Vec<Arc<Publication>>, u64) {
        self.taps.read(group, reader, second)
    }

    /// Ends what operators no longer read.
    pub(in crate::hub) fn end_unread(&mut self, second: u32) {
        if self.rates.as_ref().is_some_and(|rates| rates.has_lapsed(second)) {
            self.rates = None;
        }
        if !self.taps.is_empty() {
            self.taps.lapse(second);
        }
    }

    /// All groups, each with its index.
    pub(in crate::hub) fn iter(&self) -> impl Iterator<Item = (usize, &Group)> {
        self.groups.iter()
    }

    /// The group with this index.
    pub(in crate::hub) fn at(&self, index: usize) -> Option<&Group> {
        self.groups.get(index)
    }

    /// Counts publications dropped for members.
    pub(in crate::hub) fn count_dropped(&mut self, key: GroupKey, dropped: &Dropped) {
        if let Some(group) = self.get_mut(key) {
            group.dropped.get_or_insert_default().add(dropped);
        }
    }

    /// Records that every live member has passed `position`.
    pub(in crate::hub) fn reach(&mut self, key: GroupKey, position: &Position) {
        if let Some(group) = self.get_mut(key) {
            group.reached = Some(position.clone());
        }
    }

    /// Records that the members are notified of a possible gap; `false` if that is redundant.
    pub(in crate::hub) fn note_possible_gap(&mut self, key: GroupKey) -> bool {
        self.get_mut(key).is_some_and(|group| !std::mem::replace(&mut group.ends_in_gap, true))
    }

    /// Finds or creates the group of this name.
    fn ensure(&mut self, name: &GroupName, limits: impl FnOnce() -> Limits) -> GroupKey {
        if let Some(key) = self.find(name) {
            return key;
        }
        // A stale key could match only after four billion more groups.
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.groups.insert(Group {
            name: name.clone(),
            limits: limits(),
            generation,
            // Most groups are private: a first push would take room for four members.
            members: Vec::with_capacity(1),
            sent: 0,
            dropped: None,
            reached: None,
            ends_in_gap: false,
            last_sent: None,
        });
        let key = GroupKey { index: index as u32, generation };
        self.by_name.insert(name.clone(), key);
        key
    }

    /// Adds a member whose publications are held back; `None` if it is a member already.
    pub(in crate::hub) fn join(
        &mut self,
        connections: &mut Connections,
        connection: ConnectionKey,
        name: &GroupName,
        by_backend: bool,
        limits: impl FnOnce() -> Limits,
    ) -> Option<GroupKey> {
        if self.held(connections, connection, name).is_some() {
            return None;
        }
        let key = self.ensure(name, limits);
        let group = &mut self.groups[key.index as usize];
        group.ends_in_gap = false;
        let members = &mut group.members;
        let memberships = &mut connections[connection].memberships;
        let place = members.len() as u32;
        memberships.push(Membership { group: key, place, by_backend });
        let place = (memberships.len() - 1) as u16;
        members.push(GroupMember { connection, place, is_joining: true });
        let count = members.len();
        self.member_counts.change(name, count - 1, count);
        Some(key)
    }

    /// The group of this name, if `connection` is a member of it.
    pub(in crate::hub) fn held(
        &self,
        connections: &Connections,
        connection: ConnectionKey,
        name: &GroupName,
    ) -> Option<GroupKey> {
        let key = self.find(name)?;
        // The shorter list is the connection's: at most `groups_per_connection`.
        let memberships = &connections[connection].memberships;
        memberships.iter().any(|m| m.group == key).then_some(key)
    }

    /// Makes a member live whose join is complete.
    pub(in crate::hub) fn let_through(
        &mut self,
        connections: &Connections,
        connection: ConnectionKey,
        key: GroupKey,
    ) {
        let memberships = &connections[connection].memberships;
        let own = memberships.iter().find(|membership| membership.group == key);
        if let (Some(own), Some(group)) = (own, self.get_mut(key)) {
            group.members[own.place as usize].is_joining = false;
        }
    }

    /// Ends a membership. Returns the group's name if that was its last member here.
    pub(in crate::hub) fn leave(
        &mut self,
        connections: &mut Connections,
        connection: ConnectionKey,
        key: GroupKey,
    ) -> Option<GroupName> {
        let memberships = &mut connections[connection].memberships;
        let place = memberships.iter().position(|m| m.group == key)?;
        let membership = memberships.swap_remove(place);
        if let Some(moved) = memberships.get(place) {
            let members = &mut self.groups[moved.group.index as usize].members;
            members[moved.place as usize].place = place as u16;
        }
        let group = &mut self.groups[key.index as usize];
        let members = &mut group.members;
        members.swap_remove(membership.place as usize);
        self.member_counts.change(&group.name, members.len() + 1, members.len());
        if let Some(moved) = members.get(membership.place as usize) {
            let memberships = &mut connections[moved.connection].memberships;
            memberships[moved.place as usize].place = membership.place;
        }
        if !members.is_empty() {
            return None;
        }
        let group = self.groups.remove(key.index as usize);
        self.by_name.remove(&group.name);
        Some(group.name)
    }
}

impl Group {
    pub(in crate::hub) fn members(&self) -> &[GroupMember] {
        &self.members
    }

    pub(in crate::hub) fn reached(&self) -> Option<&Position> {
        self.reached.as_ref()
    }

    /// Publications linked to members' frames since the first member here.
    pub(in crate::hub) fn sent(&self) -> u64 {
        self.sent
    }

    /// Second of the shard's clock of the last publication for members.
    pub(in crate::hub) fn last_sent(&self) -> Option<u32> {
        self.last_sent.map(|second| second.get() - 1)
    }

    pub(in crate::hub) fn dropped(&self) -> Dropped {
        self.dropped.as_deref().copied().unwrap_or_default()
    }

    /// Whether every live member has passed `position`.
    pub(in crate::hub) fn has_reached(&self, position: &Position) -> bool {
        self.reached.as_ref().is_some_and(|reached| position.is_covered_by(reached))
    }
}
