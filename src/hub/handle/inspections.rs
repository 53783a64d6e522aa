//! The questions of operators, put to every shard, with the answers of all in one.

use std::collections::HashMap;
use std::sync::Arc;

use super::Hub;
use crate::group::GroupName;
use crate::hub::inspection::{
    ConnectionQuery, ConnectionRow, GroupQuery, GroupRate, GroupRow, Inspection, ReceiptReport,
    TapReading,
};

impl Hub {
    /// A page of the groups here, in no order: as many rows as every shard may contribute.
    pub(crate) async fn list_groups(&self, query: &GroupQuery) -> Vec<GroupRow> {
        let mut rows: HashMap<String, GroupRow> = HashMap::new();
        for shard in &self.0.shards {
            let part = shard.inspect(|reply| Inspection::Groups(query.clone(), reply)).await;
            for row in part.unwrap_or_default() {
                match rows.get_mut(&row.name) {
                    Some(known) => known.add(&row),
                    None => drop(rows.insert(row.name.clone(), row)),
                }
            }
        }
        rows.into_values().collect()
    }

    /// A page of the connections here, in no order.
    pub(crate) async fn list_connections(&self, query: &ConnectionQuery) -> Vec<ConnectionRow> {
        let mut rows = Vec::new();
        for shard in &self.0.shards {
            let part = shard.inspect(|reply| Inspection::Connections(query.clone(), reply)).await;
            rows.extend(part.unwrap_or_default());
        }
        rows
    }

    /// Publications by group since this was last asked; counting ends some seconds after.
    pub(crate) async fn group_rates(&self) -> Vec<GroupRate> {
        let mut rates: HashMap<String, GroupRate> = HashMap::new();
        for shard in &self.0.shards {
            for part in shard.inspect(Inspection::Rates).await.unwrap_or_default() {
                let whole = rates.entry(part.name.clone()).or_default();
                // Every shard with members counts the same publications.
                whole.publications = whole.publications.max(part.publications);
                whole.inherited = whole.inherited.max(part.inherited);
                whole.members += part.members;
                whole.name = part.name;
            }
        }
        rates.into_values().collect()
    }

    /// What has come for a group since this reader last asked; it begins with the first question
    /// and ends some seconds after the last. The shard with most has all.
    pub(crate) async fn tap(&self, group: &GroupName, reader: u64) -> TapReading {
        let mut longest = TapReading::default();
        for shard in &self.0.shards {
            let ask = |reply| Inspection::Tap { group: group.clone(), reader, reply };
            let part = shard.inspect(ask).await.unwrap_or_default();
            if part.0.len() > longest.0.len() {
                longest = part;
            }
        }
        longest
    }

    /// What became of a user's connections and, for them, of a group's publications.
    pub(crate) async fn receipt(&self, sub: &str, group: Option<&GroupName>) -> ReceiptReport {
        let sub: Arc<str> = sub.into();
        let mut whole = ReceiptReport::default();
        for shard in &self.0.shards {
            let (sub, group) = (Arc::clone(&sub), group.cloned());
            let ask = |reply| Inspection::Receipt(sub, group, reply);
            whole.add(shard.inspect(ask).await.unwrap_or_default());
        }
        whole
    }
}

impl GroupRow {
    /// Adds what another shard or instance knows of the same group.
    pub(crate) fn add(&mut self, other: &Self) {
        self.members += other.members;
        self.sent += other.sent;
        self.offset = self.offset.max(other.offset);
        self.quiet = self.quiet.into_iter().chain(other.quiet).min();
        self.waiting = self.waiting.zip(other.waiting).map(|(one, other)| one + other);
        self.dropped.add(&other.dropped);
    }
}

impl ReceiptReport {
    /// Adds what another shard or instance knows of the same user and group.
    pub(crate) fn add(&mut self, other: Self) {
        self.connections.extend(other.connections);
        self.losses.extend(other.losses);
        self.refused.extend(other.refused);
        self.unlisted = self.unlisted.take().or(other.unlisted);
        let newest = self.ended.take().into_iter().chain(other.ended);
        self.ended = newest.max_by_key(|end| end.ended);
        match (&mut self.group, other.group) {
            (Some(group), Some(more)) => group.add(&more),
            (group @ None, more) => *group = more,
            (Some(_), None) => {}
        }
    }
}
