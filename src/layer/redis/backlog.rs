//! Entries of the queue between the task that reads the subscription and the task that decodes it.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::names::Channel;
use crate::event::Stamp;
use crate::group::GroupName;
use crate::layer::Loss;
use crate::layer::envelope::user_of;
use crate::layer::fair_backlog::Backlog;
use crate::layer::group_queues::{GroupQueues, QueueKey, Queued};

/// Most messages in the backlog.
pub(super) const BACKLOG: usize = 16_384;

/// Most groups that one gap names; beyond that it concerns all.
const MAX_NAMED: usize = 1024;

/// One entry of the backlog.
#[derive(Debug)]
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

/// The queue between the two tasks.
pub(super) type MessageBacklog = Backlog<Backlogged>;

/// An empty backlog of at most so many bytes.
pub(super) fn message_backlog(max_bytes: usize) -> MessageBacklog {
    Backlog::new(GroupQueues::new(BACKLOG, max_bytes))
}

impl Backlogged {
    /// The queue that it waits in; `None` = it concerns everybody.
    pub(super) fn queue(&self) -> Option<QueueKey> {
        let Self::Message(channel, bytes) = self else { return None };
        match channel {
            Channel::Group(group) | Channel::External(group) => {
                Some(QueueKey::Group(group.clone()))
            }
            // What has no user is discarded in its turn.
            Channel::User => Some(QueueKey::of_user(&user_of(bytes).unwrap_or_default())),
            Channel::Instance => Some(QueueKey::Instance),
            Channel::Control | Channel::Questions | Channel::Boundary => None,
        }
    }
}

impl Queued for Backlogged {
    fn bytes(&self) -> Option<usize> {
        match self {
            Self::Message(_, bytes) => Some(bytes.len()),
            Self::Gap(_) | Self::Resubscribing | Self::Resubscribed(_) => None,
        }
    }

    fn loss_of_all(count: u64) -> Self {
        Self::Gap(PendingGap::of_unknown(count))
    }

    fn merge(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Gap(gap), Self::Gap(next)) => {
                gap.merge(next);
                None
            }
            (_, next) => Some(next),
        }
    }
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
    /// The gap of one queue. There are no gaps of users and connections: all are notified.
    pub(super) fn of(queue: QueueKey, count: u64) -> Self {
        match queue {
            QueueKey::Group(group) => Self { all: false, groups: BTreeSet::from([group]), count },
            QueueKey::Users(_) | QueueKey::Instance => Self::of_unknown(count),
        }
    }

    /// Whether commands may be among them.
    pub(super) fn is_of_all(&self) -> bool {
        self.all
    }

    /// Messages lost, as far as they could be counted.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds another gap at the same place.
    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.groups.extend(other.groups);
        self.all |= other.all || self.groups.len() > MAX_NAMED;
    }

    /// Messages of unknown channels were lost.
    pub(super) fn of_unknown(count: u64) -> Self {
        Self { all: true, groups: BTreeSet::new(), count }
    }

    pub(super) fn into_loss(self) -> Loss {
        if self.all { Loss::All } else { Loss::Groups(self.groups.into_iter().collect()) }
    }
}
