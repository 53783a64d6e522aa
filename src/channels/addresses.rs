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
    /// The mailbox into which senders write events for `group`.
    pub(super) fn mailbox(&self, group: &GroupName) -> Option<String> {
        let mailboxes = self.mailboxes.as_ref()?;
        Some(mailboxes.of_groups(group.share(mailboxes.count())))
    }

    /// The key in which senders look for `group` and the member they find; `None` if they are not
    /// to find it.
    pub(crate) fn of(&self, group: &GroupName) -> Option<(String, String)> {
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
