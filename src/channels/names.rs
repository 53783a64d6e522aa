//! The names that senders find in Redis: one mailbox for many groups, shared by all instances.

use super::Channels;
use crate::event::{ConnectionId, Target};
use crate::group::GroupName;

/// The names of one cluster, as channels_redis builds them.
#[derive(Debug, Clone)]
pub(super) struct Mailboxes {
    /// Begins every key of the library.
    prefix: String,
    /// Begins every channel name of this cluster.
    word: String,
    boxes: u16,
}

/// What the pub/sub layer's channels of groups begin with, under Django's prefix.
pub(super) fn subscribed(prefix: &str) -> String {
    format!("{prefix}__group__")
}

impl Mailboxes {
    pub(super) fn new(channels: &Channels, cluster: &str) -> Self {
        Self {
            prefix: channels.prefix.clone(),
            word: format!("groupcast.{cluster}."),
            boxes: channels.boxes,
        }
    }

    /// How many boxes there are for groups, and again for connections.
    pub(super) fn count(&self) -> u16 {
        self.boxes
    }

    /// What every mailbox' key begins with.
    pub(super) fn stem(&self) -> String {
        [&*self.prefix, &*self.word].concat()
    }

    /// The key of the mailbox for groups with this number.
    pub(super) fn of_groups(&self, number: u16) -> String {
        format!("{}{}{number}!", self.prefix, self.word)
    }

    /// The key of the mailbox for connections with this number.
    pub(super) fn of_connections(&self, number: u16) -> String {
        format!("{}{}c{number}!", self.prefix, self.word)
    }

    /// Where senders look for the members of `group`.
    pub(super) fn group_key(&self, group: &GroupName) -> String {
        format!("{}:group:{group}", self.prefix)
    }

    /// Where the pub/sub layer's consumers hear `group`.
    pub(super) fn subscribed(&self, group: &GroupName) -> String {
        [&subscribed(&self.prefix), group.as_str()].concat()
    }

    /// What every channel name of this cluster begins with.
    pub(super) fn word(&self) -> &str {
        &self.word
    }

    /// The member that stands for all connections of `group` in all instances.
    pub(super) fn member(&self, group: &GroupName) -> String {
        format!("{}{}!{group}", self.word, group.share(self.boxes))
    }

    /// The channel name of one connection.
    pub(super) fn channel(&self, connection: ConnectionId) -> String {
        let number = connection.serial % u64::from(self.boxes);
        format!("{}c{number}!{connection}", self.word)
    }

    /// Whom a channel name stands for; `None` = nobody of this cluster.
    pub(super) fn target(&self, channel: &str) -> Option<Target> {
        let (number, local) = channel.strip_prefix(&self.word)?.split_once('!')?;
        match number.strip_prefix('c') {
            Some(_) => local.parse().ok().map(Target::Connection),
            None => GroupName::parse(local).ok().map(Target::Group),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailboxes() -> Mailboxes {
        Mailboxes::new(&Channels::default(), "tienda")
    }

    #[test]
    fn a_name_leads_back_to_whom_it_stands_for() {
        let mailboxes = mailboxes();
        for name in ["usuario_7", "pedido.42", "a", &"x".repeat(99)] {
            let group = GroupName::parse(name).unwrap();
            let member = mailboxes.member(&group);
            assert_eq!(mailboxes.target(&member), Some(Target::Group(group)));
        }
        let connection: ConnectionId = "k3f5a2bq-70".parse().unwrap();
        let channel = mailboxes.channel(connection);
        assert_eq!(channel, "groupcast.tienda.c6!k3f5a2bq-70");
        assert_eq!(mailboxes.target(&channel), Some(Target::Connection(connection)));
    }

    #[test]
    fn a_channel_name_is_short_enough_for_the_library() {
        let longest = Mailboxes::new(&Channels::default(), &"x".repeat(48));
        let connection = ConnectionId { instance: "k3f5a2bq".parse().unwrap(), serial: u64::MAX };
        assert!(longest.channel(connection).len() < 100, "{}", longest.channel(connection).len());
    }

    #[test]
    fn others_names_stand_for_nobody() {
        for name in ["specific.1234!5678", "groupcast.otra.3!g", "groupcast.tienda.3", "tareas", ""]
        {
            assert_eq!(mailboxes().target(name), None, "{name}");
        }
    }

    #[test]
    fn groups_are_spread_over_all_mailboxes() {
        let mut counts = [0; 64];
        for n in 0..6400 {
            counts[usize::from(GroupName::parse(&format!("usuario_{n}")).unwrap().share(64))] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }
}
