//! Changes requested by back ends: memberships and closes.

use super::Memberships;
use super::request::BY_BACKEND;
use crate::event::{Control, Member};
use crate::group::GroupName;
use crate::hub::command::PostedAt;
use crate::hub::request::Cause;
use crate::hub::store::ConnectionKey;
use crate::protocol::Disconnect;

impl Memberships<'_> {
    /// Applies a change to the connections admitted before it was posted.
    pub(in crate::hub) fn control(&mut self, control: Control, posted: PostedAt) {
        match control {
            Control::Join(member, group) => self.enlist(&member, &group, posted),
            Control::Leave(member, group) => {
                for key in self.connections_of(&member, posted) {
                    let held = self.groups.held(self.connections, key, &group).is_some();
                    if self.connections.is_open(key) && held {
                        self.dismiss(key, std::slice::from_ref(&group), BY_BACKEND);
                    }
                }
            }
            Control::Close(member, code) => {
                self.close_all(&self.connections_of(&member, posted), code);
            }
            Control::CloseSession(sub, session, code) => {
                let mut keys = self.connections_of(&Member::User(sub), posted);
                keys.retain(|key| self.connections[*key].identity.session() == Some(&*session));
                self.close_all(&keys, code);
            }
        }
    }

    /// The connections of this shard that a back end addresses.
    fn connections_of(&self, member: &Member, posted: PostedAt) -> Vec<ConnectionKey> {
        let mut keys: Vec<_> = match member {
            Member::User(sub) => self.connections.of_user(sub).collect(),
            Member::Connection(id) if id.instance == self.context.instance => {
                self.connections.find(*id).into_iter().collect()
            }
            Member::Connection(_) => Vec::new(),
        };
        keys.retain(|key| self.connections[*key].posted < posted);
        keys
    }

    fn close_all(&mut self, keys: &[ConnectionKey], code: u16) {
        for key in keys {
            // Answers given before the close are still sent.
            self.delivery().write_out(*key);
            self.connections.close(*key, Disconnect::of_code(code), self.context);
        }
    }

    fn enlist(&mut self, member: &Member, group: &GroupName, posted: PostedAt) {
        for key in self.connections_of(member, posted) {
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
