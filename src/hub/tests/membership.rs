//! Members of groups and connections of users, compared with plain maps.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::fixture::{group, identity, instance};
use super::peer::pair;
use crate::event::ConnectionId;
use crate::hub::store::{Connection, ConnectionKey, Connections, FrameBudget, Groups};
use crate::protocol::Encoding;
use crate::socket::{ClientSocket, GapPolicy, Limits, Settings};

const USERS: [&str; 3] = ["ana", "ben", "eva"];
const GROUPS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Debug, Clone, Copy)]
enum Step {
    Arrive(usize),
    Go(usize),
    Join(usize, usize),
    Leave(usize, usize),
    Settle(usize, usize),
}

/// The plain maps, by serial number.
#[derive(Default)]
struct Model {
    users: BTreeMap<u64, &'static str>,
    /// Whether each membership is pending.
    memberships: BTreeMap<(&'static str, u64), bool>,
}

#[derive(Default)]
struct Both {
    connections: Connections,
    groups: Groups,
    model: Model,
    serial: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let (connect, name) = (0..6_usize, 0..GROUPS.len());
    prop_oneof![
        2 => (0..USERS.len()).prop_map(Step::Arrive),
        1 => connect.clone().prop_map(Step::Go),
        6 => (connect.clone(), name.clone()).prop_map(|(connect, name)| Step::Join(connect, name)),
        4 => (connect.clone(), name.clone()).prop_map(|(connect, name)| Step::Leave(connect, name)),
        2 => (connect, name).prop_map(|(connect, name)| Step::Settle(connect, name)),
    ]
}

fn id(serial: u64) -> ConnectionId {
    ConnectionId { instance: instance(), serial }
}

impl Both {
    fn take(&mut self, step: Step) {
        match step {
            Step::Arrive(user) => self.arrive(USERS[user]),
            Step::Go(nth) => {
                let Some((serial, key)) = self.nth(nth) else { return };
                for name in GROUPS {
                    self.leave(serial, key, name);
                }
                assert_eq!(self.connections.remove(key).id.serial, serial);
                self.model.users.remove(&serial);
            }
            Step::Join(nth, name) => {
                let Some((serial, key)) = self.nth(nth) else { return };
                let (connections, name) = (&mut self.connections, GROUPS[name]);
                let joined =
                    self.groups.join(connections, key, &group(name), false, Limits::default);
                let is_new = !self.model.memberships.contains_key(&(name, serial));
                assert_eq!(joined.is_some(), is_new);
                self.model.memberships.entry((name, serial)).or_insert(true);
            }
            Step::Leave(nth, name) => {
                let Some((serial, key)) = self.nth(nth) else { return };
                self.leave(serial, key, GROUPS[name]);
            }
            Step::Settle(nth, name) => {
                let Some((serial, key)) = self.nth(nth) else { return };
                let name = GROUPS[name];
                let Some(held) = self.groups.held(&self.connections, key, &group(name)) else {
                    return;
                };
                self.groups.let_through(&self.connections, key, held);
                self.model.memberships.insert((name, serial), false);
            }
        }
    }

    fn arrive(&mut self, user: &'static str) {
        if self.model.users.len() == 6 {
            return;
        }
        self.serial += 1;
        let (server, _) = pair(false);
        let connection =
            ClientSocket::new(server, Vec::new(), &Settings::default(), GapPolicy::Notify).unwrap();
        let budget = FrameBudget::full(1, 0);
        let (id, who) = (id(self.serial), identity(user));
        self.connections.insert(Connection::new(id, connection, who, Encoding::V1, budget, 0));
        self.model.users.insert(self.serial, user);
    }

    /// The nth connection by serial number, and its key.
    fn nth(&self, nth: usize) -> Option<(u64, ConnectionKey)> {
        let serial = *self.model.users.keys().nth(nth)?;
        Some((serial, self.connections.find(id(serial)).expect("a connection is found by its id")))
    }

    fn leave(&mut self, serial: u64, key: ConnectionKey, name: &'static str) {
        let held = self.groups.held(&self.connections, key, &group(name));
        let was_held = self.model.memberships.remove(&(name, serial)).is_some();
        assert_eq!(held.is_some(), was_held);
        let Some(held) = held else { return };
        let others = self.model.memberships.keys().any(|(other, _)| *other == name);
        let ended = self.groups.leave(&mut self.connections, key, held);
        assert_eq!(ended, (!others).then(|| group(name)), "reported for the last leave only");
    }

    fn check(&self) {
        for name in GROUPS {
            let key = self.groups.find(&group(name));
            let members = key.map(|key| self.groups.get(key).unwrap().members());
            let found: BTreeMap<u64, bool> = members
                .unwrap_or_default()
                .iter()
                .map(|member| (self.connections[member.connection].id.serial, member.is_joining))
                .collect();
            let wanted = self.model.memberships.iter().filter(|((of, _), _)| *of == name);
            let wanted: BTreeMap<u64, bool> =
                wanted.map(|((_, serial), p)| (*serial, *p)).collect();
            assert_eq!(found, wanted, "group {name}");
            assert_eq!(members.map_or(0, <[_]>::len), wanted.len(), "each once");
        }
        for user in USERS {
            let found: Vec<_> =
                self.connections.of_user(user).map(|key| self.connections[key].id.serial).collect();
            let own = self.model.users.iter().rev().filter(|(_, of)| **of == user);
            assert_eq!(found, own.map(|(serial, _)| *serial).collect::<Vec<_>>(), "newest first");
        }
        let all: BTreeSet<u64> =
            self.connections.keys().map(|key| self.connections[key].id.serial).collect();
        assert!(all.iter().eq(self.model.users.keys()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn connections_and_groups_agree_with_plain_maps(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut both = Both::default();
        for step in steps {
            both.take(step);
            both.check();
        }
    }
}
