//! The queue between the task that reads the subscription and the task that decodes it.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::names::Channel;
use crate::event::Stamp;
use crate::group::GroupName;
use crate::layer::Loss;

/// Most messages in the backlog.
pub(super) const BACKLOG: usize = 16_384;

/// Most groups that one gap names; beyond that it concerns all.
const MAX_NAMED: usize = 1024;

/// One entry of the backlog.
pub(super) enum Backlogged {
    /// A message, copied out of the read buffer, which it would keep alive otherwise.
    Message(Channel, Bytes),
    /// Messages were lost here.
    Gap(PendingGap),
    /// What follows is from a new connection, whose subscription is not complete yet. It is held
    /// until [`Backlogged::Resubscribed`], so that it comes behind the gap. A gap reported now
    /// would make clients look elsewhere for what they missed while they could still miss
    /// something.
    Resubscribing,
    /// The subscription is complete again: now comes the gap, then what was held. Commands up to
    /// this place were accepted before, so they may have been lost.
    Resubscribed(Stamp),
}

/// What was lost at one place.
#[derive(Debug, Default)]
pub(super) struct PendingGap {
    all: bool,
    groups: BTreeSet<GroupName>,
    /// Messages lost, as far as they could be counted.
    count: u64,
}

impl PendingGap {
    pub(super) fn is_empty(&self) -> bool {
        !self.all && self.groups.is_empty()
    }

    /// Whether commands may be among them.
    pub(super) fn is_of_all(&self) -> bool {
        self.all
    }

    /// Messages lost, as far as they could be counted.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// A message of `channel` was lost.
    pub(super) fn add(&mut self, channel: Channel) {
        self.count += 1;
        match channel {
            Channel::Group(group) | Channel::External(group) if self.groups.len() < MAX_NAMED => {
                self.groups.insert(group);
            }
            // There are no gaps of users and connections: all connections are notified.
            _ => self.all = true,
        }
    }

    /// Messages of unknown channels were lost.
    pub(super) fn add_unknown(&mut self, count: u64) {
        self.count += count;
        self.all = true;
    }

    pub(super) fn into_loss(self) -> Loss {
        if self.all { Loss::All } else { Loss::Groups(self.groups.into_iter().collect()) }
    }
}
