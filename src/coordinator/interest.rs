//! Tracks groups whose subscription differs from whether they have members.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::group::GroupName;

/// Only the exceptions: any other group is subscribed if and only if it has members.
pub(super) struct Interest {
    linger: Duration,
    /// Subscribed groups without members, until when they may stay.
    lingering: HashMap<GroupName, Instant>,
    /// Groups whose subscription is unknown since the layer failed to answer. The next join
    /// subscribes again.
    uncertain: HashSet<GroupName>,
}

impl Interest {
    pub(super) fn new(linger: Duration) -> Self {
        Self { linger, lingering: HashMap::new(), uncertain: HashSet::new() }
    }

    /// Called when a connection joins `group`. Returns whether the group must be subscribed.
    pub(super) fn wants(&mut self, group: &GroupName, first: bool) -> bool {
        let lingered = first && self.lingering.remove(group).is_some();
        (first && !lingered) || self.uncertain.contains(group)
    }

    /// The layer has subscribed these groups, or failed to.
    pub(super) fn subscribed(&mut self, groups: Vec<GroupName>, succeeded: bool) {
        if !succeeded {
            self.uncertain.extend(groups);
        } else {
            for group in &groups {
                self.uncertain.remove(group);
            }
        }
    }

    /// The last member of `group` has left.
    pub(super) fn idle(&mut self, group: GroupName, now: Instant) {
        self.lingering.insert(group, now + self.linger);
    }

    /// Takes the groups whose linger is over, to be unsubscribed.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<GroupName> {
        let expired = self.lingering.extract_if(|_, until| *until <= now);
        let expired = expired.map(|(group, _)| group).collect::<Vec<_>>();
        for group in &expired {
            self.uncertain.remove(group);
        }
        expired
    }

    /// Takes all groups without members, whether or not their linger is over.
    pub(super) fn take_idle(&mut self) -> Vec<GroupName> {
        self.take_expired(Instant::now() + self.linger)
    }

    /// Unsubscribing these failed, or its answer was lost: they are tried again.
    pub(super) fn retry_later(&mut self, groups: Vec<GroupName>, now: Instant) {
        self.uncertain.extend(groups.iter().cloned());
        let until = now + self.linger;
        self.lingering.extend(groups.into_iter().map(|group| (group, until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(10);

    fn group(name: &str) -> GroupName {
        GroupName::parse(name).unwrap()
    }

    #[test]
    fn subscribes_a_group_once_while_it_has_members_or_lingers() {
        let (mut interest, now, g) = (Interest::new(LINGER), Instant::now(), group("g"));
        assert!(interest.wants(&g, true));
        interest.subscribed(vec![g.clone()], true);
        assert!(!interest.wants(&g, false));
        interest.idle(g.clone(), now);
        assert!(!interest.wants(&g, true), "it lingers");
        interest.idle(g.clone(), now);
        assert_eq!(interest.take_expired(now + LINGER), std::slice::from_ref(&g));
        assert!(interest.wants(&g, true), "it was unsubscribed");
    }

    #[test]
    fn subscribes_again_after_a_failure() {
        let (mut interest, now, g) = (Interest::new(LINGER), Instant::now(), group("g"));
        assert!(interest.wants(&g, true));
        interest.subscribed(vec![g.clone()], false);
        assert!(interest.wants(&g, false), "already requested by a join before the refusal");
        interest.subscribed(vec![g.clone()], false);
        interest.idle(g.clone(), now);
        assert!(interest.wants(&g, true), "by a join within the linger");
        interest.subscribed(vec![g.clone()], true);
        assert!(!interest.wants(&g, false));
    }

    #[test]
    fn subscribes_again_a_group_that_may_have_been_unsubscribed() {
        let (mut interest, now, g) = (Interest::new(LINGER), Instant::now(), group("g"));
        interest.idle(g.clone(), now);
        let over = interest.take_expired(now + LINGER);
        interest.retry_later(over, now + LINGER);
        assert!(interest.wants(&g, true));
        interest.idle(g.clone(), now);
        assert_eq!(interest.take_expired(now + LINGER), std::slice::from_ref(&g));
        assert!(interest.uncertain.is_empty(), "groups given up are forgotten");
    }
}
