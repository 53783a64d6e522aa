//! Which groups the layer has been asked for, as far as that differs from which have members.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::group::GroupName;

/// The exceptions only: a group with members is subscribed, one without is not, but for these.
pub(super) struct Interest {
    linger: Duration,
    /// Subscribed groups without members, until when they may stay.
    lingering: HashMap<GroupName, Instant>,
    /// Groups of which it is not known whether they are subscribed, since the layer failed when it
    /// was asked. A member of one would be deaf: the next join asks again.
    doubtful: HashSet<GroupName>,
}

impl Interest {
    pub(super) fn new(linger: Duration) -> Self {
        Self { linger, lingering: HashMap::new(), doubtful: HashSet::new() }
    }

    /// Somebody joins `group`, who may be the first: whether the layer must be asked for it.
    pub(super) fn wants(&mut self, group: &GroupName, first: bool) -> bool {
        let lingered = first && self.lingering.remove(group).is_some();
        (first && !lingered) || self.doubtful.contains(group)
    }

    /// The layer was asked for these groups, and has agreed or failed.
    pub(super) fn asked(&mut self, groups: Vec<GroupName>, agreed: bool) {
        if !agreed {
            self.doubtful.extend(groups);
        } else {
            for group in &groups {
                self.doubtful.remove(group);
            }
        }
    }

    /// The last member of `group` has left.
    pub(super) fn idle(&mut self, group: GroupName, now: Instant) {
        self.lingering.insert(group, now + self.linger);
    }

    /// Takes the groups whose linger is over, to be unsubscribed.
    pub(super) fn over(&mut self, now: Instant) -> Vec<GroupName> {
        let over = self.lingering.extract_if(|_, until| *until <= now);
        let over = over.map(|(group, _)| group).collect::<Vec<_>>();
        for group in &over {
            self.doubtful.remove(group);
        }
        over
    }

    /// Takes all groups without members, whether or not their linger is over.
    pub(super) fn idle_ones(&mut self) -> Vec<GroupName> {
        self.over(Instant::now() + self.linger)
    }

    /// These could not be unsubscribed, or perhaps they could: they are tried again.
    pub(super) fn kept(&mut self, groups: Vec<GroupName>, now: Instant) {
        self.doubtful.extend(groups.iter().cloned());
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
    fn a_group_is_asked_for_once_while_it_has_members_or_lingers() {
        let (mut interest, now, g) = (Interest::new(LINGER), Instant::now(), group("g"));
        assert!(interest.wants(&g, true));
        interest.asked(vec![g.clone()], true);
        assert!(!interest.wants(&g, false));
        interest.idle(g.clone(), now);
        assert!(!interest.wants(&g, true), "it lingers");
        interest.idle(g.clone(), now);
        assert_eq!(interest.over(now + LINGER), std::slice::from_ref(&g));
        assert!(interest.wants(&g, true), "it was unsubscribed");
    }

    #[test]
    fn a_group_that_could_not_be_subscribed_is_asked_for_again() {
        let (mut interest, now, g) = (Interest::new(LINGER), Instant::now(), group("g"));
        assert!(interest.wants(&g, true));
        interest.asked(vec![g.clone()], false);
        assert!(interest.wants(&g, false), "by whoever joins before the refusal is carried out");
        interest.asked(vec![g.clone()], false);
        interest.idle(g.clone(), now);
        assert!(interest.wants(&g, true), "and by whoever joins within the linger");
        interest.asked(vec![g.clone()], true);
        assert!(!interest.wants(&g, false));
    }

    #[test]
    fn a_group_that_was_perhaps_unsubscribed_is_asked_for_again() {
        let (mut interest, now, g) = (Interest::new(LINGER), Instant::now(), group("g"));
        interest.idle(g.clone(), now);
        let over = interest.over(now + LINGER);
        interest.kept(over, now + LINGER);
        assert!(interest.wants(&g, true));
        interest.idle(g.clone(), now);
        assert_eq!(interest.over(now + LINGER), std::slice::from_ref(&g));
        assert!(interest.doubtful.is_empty(), "what is given up is not remembered");
    }
}
