//! How many members groups have on an instance, for those who serve groups in turn.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use parking_lot::RwLock;

use super::GroupName;

/// Members below which a group is not counted: most groups are private, and cost nothing here.
const MIN_COUNTED: usize = 8;

/// Members of the larger groups of an instance, roughly: each shard counts powers of two, so that
/// joins and leaves seldom touch what all share.
#[derive(Debug, Default)]
pub struct MemberCounts(RwLock<HashMap<GroupName, u32>>);

impl MemberCounts {
    /// A shard had `before` members of `group` and now has `after`.
    pub(crate) fn change(&self, group: &GroupName, before: usize, after: usize) {
        let (before, after) = (rounded(before), rounded(after));
        if before == after {
            return;
        }
        match self.0.write().entry(group.clone()) {
            Entry::Vacant(entry) => drop(entry.insert(after)),
            Entry::Occupied(mut entry) => {
                *entry.get_mut() = (entry.get() + after).saturating_sub(before);
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }

    /// Members of `group`, rounded down; 0 = few.
    pub(crate) fn of(&self, group: &GroupName) -> usize {
        self.0.read().get(group).map_or(0, |count| *count as usize)
    }
}

fn rounded(members: usize) -> u32 {
    if members < MIN_COUNTED { 0 } else { 1 << members.ilog2() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_members_of_all_shards_and_forgets_small_groups() {
        let (counts, group) = (MemberCounts::default(), GroupName::parse("sala_1").unwrap());
        let all = |from: usize, to: usize| {
            let mut at = from;
            while at != to {
                let next = if to > at { at + 1 } else { at - 1 };
                counts.change(&group, at, next);
                at = next;
            }
        };
        all(0, 7);
        assert_eq!(counts.of(&group), 0);
        all(7, 600);
        all(0, 20);
        assert_eq!(counts.of(&group), 512 + 16);
        all(600, 0);
        assert_eq!(counts.of(&group), 16);
        all(20, 0);
        assert_eq!((counts.of(&group), counts.0.read().len()), (0, 0));
    }
}
