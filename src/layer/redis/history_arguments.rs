//! The groups with history in a batch, as keys and arguments of its script.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;

use super::names::Names;
use super::script::{millis, number};
use crate::group::GroupName;
use crate::layer::history::{self, Retention};

/// The groups with history among the publications of one script.
#[derive(Default)]
pub(super) struct HistoryArguments<'a> {
    /// The number of each group, from 1.
    groups: HashMap<&'a GroupName, usize>,
    /// Their keys: numbering and log.
    pub(super) keys: Vec<String>,
    /// Their four values, as `publish_many.lua` documents them.
    pub(super) values: Vec<Bytes>,
}

impl<'a> HistoryArguments<'a> {
    /// The number of `group`, which is added if it is new.
    pub(super) fn number(&mut self, group: &'a GroupName, kept: Retention, names: &Names) -> usize {
        let next = self.groups.len() + 1;
        match self.groups.entry(group) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.keys.extend([names.numbering(group), names.log(group)]);
                let numbering_ms = millis(kept.ttl + history::NUMBERING);
                let size = number(u64::from(kept.size));
                let overflow_field = names.overflow_field(group).into();
                self.values.extend([size, millis(kept.ttl), numbering_ms, overflow_field]);
                *new.insert(next)
            }
        }
    }
}
