//! Pages of the groups and connections of all instances.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use super::handle::Console;
use super::peers::{Ask, Everywhere};
use crate::hub::{
    ConnectionOrder, ConnectionQuery, ConnectionRow, GroupOrder, GroupQuery, GroupRow, MAX_ROWS,
};

/// A page of groups.
#[derive(Debug, Serialize)]
pub(crate) struct GroupPage {
    /// The rows, in the order asked; each adds up all instances.
    pub(crate) groups: Vec<GroupRow>,
    /// Instances that did not answer in time, whose share is missing.
    pub(crate) silent: Vec<String>,
}

/// A page of connections.
#[derive(Debug, Serialize)]
pub(crate) struct ConnectionPage {
    /// The rows, in the order asked.
    pub(crate) connections: Vec<ConnectionRow>,
    /// Instances that did not answer in time, whose share is missing.
    pub(crate) silent: Vec<String>,
}

impl Console {
    /// The rows from `skip` on, as many as `query` asks for.
    pub(crate) async fn groups(&self, skip: usize, query: GroupQuery) -> GroupPage {
        let (wanted, order) = (query.rows, query.order);
        let rows = skip.saturating_add(wanted).min(MAX_ROWS);
        let first = self.ask_everywhere(&Ask::Groups(GroupQuery { rows, ..query })).await;
        let mut groups = added_up(first);
        sort(&mut groups.groups, order);
        groups.groups = groups.groups.into_iter().skip(skip).take(wanted).collect();
        // A group may be among the first of one instance only: now everybody counts these.
        let names: Vec<_> = groups.groups.iter().map(|row| row.name.clone()).collect();
        if names.is_empty() {
            return groups;
        }
        let query = GroupQuery { names, rows, ..GroupQuery::default() };
        let mut exact = added_up(self.ask_everywhere(&Ask::Groups(query)).await);
        sort(&mut exact.groups, order);
        exact
    }

    /// The rows from `skip` on, as many as `query` asks for.
    pub(crate) async fn connections(&self, skip: usize, query: ConnectionQuery) -> ConnectionPage {
        let (wanted, order) = (query.rows, query.order);
        let rows = skip.saturating_add(wanted).min(MAX_ROWS);
        let query = ConnectionQuery { rows, ..query };
        let all = self.ask_everywhere::<Vec<ConnectionRow>>(&Ask::Connections(query)).await;
        let mut rows: Vec<_> = all.answers.into_iter().flat_map(|(_, rows)| rows).collect();
        rows.sort_by_key(|row| (Reverse(urgency(row, order)), row.id.clone()));
        let connections = rows.into_iter().skip(skip).take(wanted).collect();
        ConnectionPage { connections, silent: all.silent }
    }
}

fn added_up(all: Everywhere<Vec<GroupRow>>) -> GroupPage {
    let mut rows: HashMap<String, GroupRow> = HashMap::new();
    for row in all.answers.into_iter().flat_map(|(_, rows)| rows) {
        match rows.get_mut(&row.name) {
            Some(known) => known.add(&row),
            None => drop(rows.insert(row.name.clone(), row)),
        }
    }
    GroupPage { groups: rows.into_values().collect(), silent: all.silent }
}

fn sort(rows: &mut [GroupRow], order: GroupOrder) {
    let weight = |row: &GroupRow| match order {
        GroupOrder::Members => row.members,
        GroupOrder::Sent => row.sent,
        GroupOrder::Dropped => row.dropped.lost(),
        GroupOrder::Name => 0,
    };
    rows.sort_by(|a, b| weight(b).cmp(&weight(a)).then_with(|| a.name.cmp(&b.name)));
}

fn urgency(row: &ConnectionRow, order: ConnectionOrder) -> u64 {
    match order {
        ConnectionOrder::Newest => u64::MAX - row.age,
        ConnectionOrder::Oldest => row.age,
        ConnectionOrder::Waiting => row.waiting_bytes,
        ConnectionOrder::Dropped => row.dropped.lost(),
        ConnectionOrder::Sent => row.sent,
    }
}
