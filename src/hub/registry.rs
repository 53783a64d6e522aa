//! What all shards of an instance share: the shards of each group, and the connections of each
//! user.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::group::GroupName;

/// A set of shards, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ShardSet(u64);

/// Most shards of an instance: the bits of a `ShardSet`.
pub(crate) const MAX_SHARDS: usize = 64;

/// The one shared map of the hub. Consulted once per publication and once per join, never per
/// receiver; its methods return copies, so no guard of the map outlives a call.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    groups: DashMap<GroupName, ShardSet>,
    users: DashMap<Arc<str>, u32>,
    connections: AtomicUsize,
    outbox_bytes: AtomicUsize,
}

impl Registry {
    /// Records that `shard` has members of `group`. Returns whether no shard had any before.
    pub(crate) fn open(&self, group: &GroupName, shard: usize) -> bool {
        let mut shards = self.groups.entry(group.clone()).or_default();
        let first = shards.0 == 0;
        shards.0 |= 1 << shard;
        first
    }

    /// Records that `shard` has no members of `group` left. Returns whether no shard has any.
    pub(crate) fn close(&self, group: &GroupName, shard: usize) -> bool {
        match self.groups.entry(group.clone()) {
            Entry::Vacant(_) => true,
            Entry::Occupied(mut entry) => {
                entry.get_mut().0 &= !(1 << shard);
                let none = entry.get().0 == 0;
                if none {
                    entry.remove();
                }
                none
            }
        }
    }

    /// The shards with members of `group`.
    pub(crate) fn shards_of(&self, group: &GroupName) -> ShardSet {
        self.groups.get(group).map_or(ShardSet::default(), |shards| *shards)
    }

    /// The groups with members here that `wanted` selects. Iterates over all groups, so for rare
    /// events only.
    pub(crate) fn groups_where(&self, wanted: impl Fn(&GroupName) -> bool) -> Vec<GroupName> {
        let groups = self.groups.iter().filter(|entry| wanted(entry.key()));
        groups.map(|entry| entry.key().clone()).collect()
    }

    /// How many groups have members here.
    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Connections, including those being handed to a shard.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Records that a shard's outboxes hold `after` bytes instead of `before`. Returns the bytes of
    /// all shards.
    pub(super) fn count_outbox_bytes(&self, before: usize, after: usize) -> usize {
        if before == after {
            return self.outbox_bytes.load(Ordering::Relaxed);
        }
        // Wrapping, so that a decrease is an addition, too.
        let change = after.wrapping_sub(before);
        self.outbox_bytes.fetch_add(change, Ordering::Relaxed).wrapping_add(change)
    }

    /// Counts one more connection of `sub`, unless it has `most` already.
    pub(crate) fn enter(&self, sub: &Arc<str>, most: u32) -> bool {
        let mut count = self.users.entry(Arc::clone(sub)).or_insert(0);
        if *count >= most {
            return false;
        }
        *count += 1;
        self.connections.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Counts one connection of `sub` out.
    pub(crate) fn leave(&self, sub: &Arc<str>) {
        if let Entry::Occupied(mut entry) = self.users.entry(Arc::clone(sub)) {
            *entry.get_mut() -= 1;
            self.connections.fetch_sub(1, Ordering::Relaxed);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl ShardSet {
    /// All of the first `count` shards.
    pub(crate) fn all(count: usize) -> Self {
        Self(u64::MAX >> (MAX_SHARDS - count))
    }

    /// The shards in the set, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_SHARDS).filter(move |shard| self.0 & (1 << shard) != 0)
    }
}
