//! Commands of back ends: memberships and closes.

use super::Memberships;
use super::request::BY_BACKEND;
use crate::event::{Control, Member, Stamp};
use crate::group::GroupName;
use crate::hub::command::PostedAt;
use crate::hub::request::Cause;
use crate::hub::store::ConnectionKey;
use crate::protocol::Disconnect;

/// Connections that are older than a command.
#[derive(Clone, Copy)]
struct Before {
    posted: PostedAt,
    /// `None` = the command came directly.
    stamp: Option<Stamp>,
}

impl Memberships<'_> {
    /// Applies a command to the connections admitted before it was posted, whose identity was
    /// checked before it was accepted.
    pub(in crate::hub) fn control(
        &mut self,
        control: Control,
        stamp: Option<Stamp>,
        posted: PostedAt,
    ) {
        let before = Before { posted, stamp };
        match control {
            Control::Join(member, group) => self.enlist(&member, &group, before),
            Control::Leave(member, group) => {
                for key in self.connections_of(&member, before) {
                    let held = self.groups.held(self.connections, key, &group).is_some();
                    if self.connections.is_open(key) && held {
                        self.dismiss(key, std::slice::from_ref(&group), BY_BACKEND);
                    }
                }
            }
            Control::Close(member, code) => {
                self.close_each(&self.connections_of(&member, before), Disconnect::of_code(code));
            }
            Control::CloseSession(sub, session, code) => {
                let mut keys = self.connections_of(&Member::User(sub), before);
                keys.retain(|key| self.connections[*key].identity.session() == Some(&*session));
                self.close_each(&keys, Disconnect::of_code(code));
            }
        }
    }

    /// Closes the connections admitted before this was posted.
    pub(in crate::hub) fn close_everybody(&mut self, disconnect: Disconnect, posted: PostedAt) {
        let mut keys: Vec<_> = self.connections.keys().collect();
        keys.retain(|key| self.connections[*key].posted < posted);
        self.close_each(&keys, disconnect);
    }

    /// The connections of this shard that a back end addresses.
    fn connections_of(&self, member: &Member, before: Before) -> Vec<ConnectionKey> {
        let mut keys: Vec<_> = match member {
            Member::User(sub) => self.connections.of_user(sub).collect(),
            Member::Connection(id) if id.instance == self.context.instance => {
                self.connections.find(*id).into_iter().collect()
            }
            Member::Connection(_) => Vec::new(),
        };
        keys.retain(|key| {
            let connection = &self.connections[*key];
            connection.posted < before.posted
                && before.stamp.is_none_or(|stamp| connection.stamp < stamp)
        });
        keys
    }

    fn close_each(&mut self, keys: &[ConnectionKey], disconnect: Disconnect) {
        for key in keys {
            // Answers given before the close are still sent.
            self.delivery().write_out(*key);
            self.connections.close(*key, disconnect, self.context);
        }
    }

    fn enlist(&mut self, member: &Member, group: &GroupName, before: Before) {
        for key in self.connections_of(member, before) {
            let held = self.groups.held(self.connections, key, group).is_some();
            if !self.connections.is_open(key) || held {
                continue;
            }
            let connection = &self.connections[key];
            if connection.memberships().len()
                >= self.context.config.connection.groups_per_connection
            {
                tracing::warn!(
                    connection = %connection.id,
                    %group,
                    "not joined: limits.groups_per_connection reached"
                );
                continue;
            }
            let groups = vec![(group.clone(), None)];
            self.ask_to_join(key, Cause::Server(BY_BACKEND), groups, Vec::new());
        }
    }
}
