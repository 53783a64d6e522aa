//! The names that senders find in Redis: one mailbox for many groups, shared by all instances.

use std::sync::Arc;

use super::settings::{ChannelSettings, pubsub_stem};
use crate::event::{ConnectionId, Target};
use crate::group::GroupName;

/// The names of one cluster, as channels_redis builds them. Clones share the texts.
#[derive(Debug, Clone)]
pub struct MailboxNames {
    /// Begins every key of the library.
    prefix: Arc<str>,
    /// The prefix of every channel name of this cluster.
    stem: Arc<str>,
    boxes: u16,
}

/// Begins an entry that instances write into mailboxes themselves: behind it, events of the group
/// that follows may be missing. Entries of channels_redis begin with 12 random bytes or a
/// serialized message.
const LOSS_MARK: &str = "groupcast:loss:";

impl MailboxNames {
    pub(crate) fn new(settings: &ChannelSettings, cluster: &str) -> Self {
        Self {
            prefix: settings.prefix.as_str().into(),
            stem: format!("groupcast.{cluster}.").into(),
            boxes: settings.boxes,
        }
    }

    /// The name by which Django's `channel_layer.send` reaches a connection.
    pub fn channel(&self, connection: ConnectionId) -> String {
        let number = connection.serial % u64::from(self.boxes);
        format!("{}c{number}!{connection}", self.stem)
    }

    /// How many mailboxes there are for groups, and again for connections.
    pub(crate) fn count(&self) -> u16 {
        self.boxes
    }

    /// The prefix of the key of every mailbox.
    pub(crate) fn key_stem(&self) -> String {
        [&*self.prefix, &*self.stem].concat()
    }

    /// The key of the mailbox for groups with this number.
    pub(crate) fn of_groups(&self, number: u16) -> String {
        format!("{}{}{number}!", self.prefix, self.stem)
    }

    /// The key of the mailbox for connections with this number.
    pub(crate) fn of_connections(&self, number: u16) -> String {
        format!("{}{}c{number}!", self.prefix, self.stem)
    }

    /// Where senders look for the members of `group`.
    pub(crate) fn group_key(&self, group: &GroupName) -> String {
        format!("{}:group:{group}", self.prefix)
    }

    /// Where the pub/sub layer's consumers subscribe for `group`.
    pub(super) fn pubsub_channel(&self, group: &GroupName) -> String {
        [&pubsub_stem(&self.prefix), group.as_str()].concat()
    }

    /// The prefix of every channel name of this cluster.
    pub(super) fn stem(&self) -> &str {
        &self.stem
    }

    /// The member that represents all connections of `group` in all instances.
    pub(crate) fn member(&self, group: &GroupName) -> String {
        format!("{}{}!{group}", self.stem, group.share(self.boxes))
    }

    /// The entry that marks a possible loss of `group` at its place among the entries of its
    /// mailbox.
    pub(super) fn loss_mark(group: &GroupName) -> String {
        [LOSS_MARK, group.as_str()].concat()
    }

    /// The group, if `entry` is such a mark.
    pub(crate) fn read_loss_mark(entry: &[u8]) -> Option<GroupName> {
        let name = entry.strip_prefix(LOSS_MARK.as_bytes())?;
        GroupName::parse(std::str::from_utf8(name).ok()?).ok()
    }

    /// The target of a channel name; `None` = none of this cluster.
    pub(crate) fn target(&self, channel: &str) -> Option<Target> {
        let (number, local) = channel.strip_prefix(&*self.stem)?.split_once('!')?;
        match number.strip_prefix('c') {
            Some(_) => local.parse().ok().map(Target::Connection),
            None => GroupName::parse(local).ok().map(Target::Group),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailboxes() -> MailboxNames {
        MailboxNames::new(&ChannelSettings::default(), "tienda")
    }

    #[test]
    fn parses_the_names_that_it_builds() {
        let mailboxes = mailboxes();
        for name in ["usuario_7", "pedido.42", "a", &"x".repeat(99)] {
            let group = GroupName::parse(name).unwrap();
            let member = mailboxes.member(&group);
            assert_eq!(mailboxes.target(&member), Some(Target::Group(group.clone())));
            let mark = MailboxNames::loss_mark(&group);
            assert_eq!(MailboxNames::read_loss_mark(mark.as_bytes()), Some(group));
        }
        let connection: ConnectionId = "k3f5a2bq-70".parse().unwrap();
        let channel = mailboxes.channel(connection);
        assert_eq!(channel, "groupcast.tienda.c6!k3f5a2bq-70");
        assert_eq!(mailboxes.target(&channel), Some(Target::Connection(connection)));
    }

    #[test]
    fn channel_names_stay_below_the_library_limit_of_100() {
        let longest = MailboxNames::new(&ChannelSettings::default(), &"x".repeat(48));
        let connection = ConnectionId { instance: "k3f5a2bq".parse().unwrap(), serial: u64::MAX };
        assert!(longest.channel(connection).len() < 100, "{}", longest.channel(connection).len());
    }

    #[test]
    fn ignores_channel_names_of_other_clusters_and_libraries() {
        for name in ["specific.1234!5678", "groupcast.otra.3!g", "groupcast.tienda.3", "tareas", ""]
        {
            assert_eq!(mailboxes().target(name), None, "{name}");
        }
    }

    #[test]
    fn spreads_groups_over_all_mailboxes() {
        let mut counts = [0; 64];
        for n in 0..6400 {
            counts[usize::from(GroupName::parse(&format!("usuario_{n}")).unwrap().share(64))] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }
}
