//! The keys and members under which Django's senders find a group.

use std::time::Duration;

use super::{ChannelSettings, MailboxNames};
use crate::group::GroupName;
use crate::layer::RedisHandle;

/// How long a group counts as held after it was last registered: two refreshes may be missed.
const HELD: Duration = Duration::from_secs(150);

/// The key and member under which Django's senders find each group.
#[derive(Debug, Clone)]
pub(crate) struct GroupAddresses {
    /// `None` if mailboxes are not received, so that senders find nothing.
    pub(super) mailboxes: Option<MailboxNames>,
    pub(super) settings: ChannelSettings,
}

impl GroupAddresses {
    /// The mailbox on the layer's server into which senders write events for `group`.
    pub(super) fn mailbox(&self, group: &GroupName) -> Option<String> {
        let mailboxes = self.mailboxes.as_ref().filter(|_| !self.is_elsewhere())?;
        Some(mailboxes.of_groups(group.share(mailboxes.count())))
    }

    /// Whether senders look on a server of their own.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.settings.server.is_some()
    }

    /// The key on the layer's server in which senders look for `group` and the member they find;
    /// `None` if they are not to find it there.
    pub(crate) fn of(&self, group: &GroupName) -> Option<(String, String)> {
        self.anywhere(group).filter(|_| !self.is_elsewhere())
    }

    /// As [`Self::of`], wherever senders look.
    pub(crate) fn anywhere(&self, group: &GroupName) -> Option<(String, String)> {
        let mailboxes = self.mailboxes.as_ref()?;
        let received = self.settings.receives(group);
        received.then(|| (mailboxes.group_key(group), mailboxes.member(group)))
    }
}

/// How long a group counts as held, and how long its history is of use once no instance holds it.
pub(super) fn lifetimes(redis: &RedisHandle, group: &GroupName) -> (Duration, Duration) {
    let ttl = redis.history().of(group).map_or(Duration::ZERO, |kept| kept.ttl);
    (HELD + ttl, ttl)
}
