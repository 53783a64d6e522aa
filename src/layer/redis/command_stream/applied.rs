//! Which commands an instance has applied: each takes effect once, and of two about one membership
//! the later one.

use crate::bounded_map::{BoundedMap, MapLimits};
use crate::event::{Control, Member, Stamp};
use crate::group::GroupName;

/// Most commands remembered. Only those of the last minute are appended again, so this is far more
/// than a back end sends while it matters.
const MAX_REMEMBERED: usize = 16_384;

/// The commands applied last.
pub(super) struct AppliedCommands {
    ids: BoundedMap<u128, ()>,
    /// When the newest command about a membership was accepted.
    memberships: BoundedMap<(Member, GroupName), Stamp>,
}

impl AppliedCommands {
    pub(super) fn new() -> Self {
        let limits = MapLimits::entries(MAX_REMEMBERED);
        Self { ids: BoundedMap::new(limits), memberships: BoundedMap::new(limits) }
    }

    /// Whether a command accepted at `stamp` is to be applied now. If so, it counts as applied.
    pub(super) fn admits(&mut self, id: u128, stamp: Stamp, control: &Control) -> bool {
        if self.ids.get(&id).is_some() {
            return false;
        }
        self.ids.insert(id, (), 0);
        let (Control::Join(member, group) | Control::Leave(member, group)) = control else {
            return true;
        };
        let membership = (member.clone(), group.clone());
        if self.memberships.get(&membership).is_some_and(|newest| *newest > stamp) {
            return false;
        }
        self.memberships.insert(membership, stamp, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(generation: u64, number: u64) -> Stamp {
        Stamp { generation, number }
    }

    fn group(name: &str) -> GroupName {
        GroupName::parse(name).unwrap()
    }

    fn user() -> Member {
        Member::User("7".into())
    }

    #[test]
    fn applies_a_command_once() {
        let mut applied = AppliedCommands::new();
        let close = Control::Close(user(), 4403);
        assert!(applied.admits(1, stamp(1, 1), &close));
        assert!(!applied.admits(1, stamp(1, 1), &close));
        assert!(applied.admits(2, stamp(1, 1), &close), "another with the same stamp");
    }

    #[test]
    fn applies_no_membership_command_after_a_later_one() {
        let mut applied = AppliedCommands::new();
        let join = |name| Control::Join(user(), group(name));
        let leave = |name| Control::Leave(user(), group(name));
        assert!(applied.admits(1, stamp(1, 6), &leave("a")));
        assert!(!applied.admits(2, stamp(1, 5), &join("a")), "appended again, in another order");
        assert!(applied.admits(3, stamp(1, 5), &join("b")), "another group");
        let other = Control::Join(Member::User("8".into()), group("a"));
        assert!(applied.admits(4, stamp(1, 5), &other), "another member");
        assert!(applied.admits(5, stamp(2, 1), &join("a")), "later");
    }

    #[test]
    fn remembers_a_bounded_number() {
        let mut applied = AppliedCommands::new();
        for n in 0..MAX_REMEMBERED as u128 + 100 {
            let join = Control::Join(user(), group(&format!("g{n}")));
            assert!(applied.admits(n, stamp(1, 1), &join));
        }
        assert_eq!(applied.ids.len(), MAX_REMEMBERED);
        assert_eq!(applied.memberships.len(), MAX_REMEMBERED);
    }
}
