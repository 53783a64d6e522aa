//! Groups with history in the tables of scripts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::names::Names;
use crate::group::GroupName;
use crate::layer::history::{self, Retention};
use crate::lua_table::{LuaTable, ScriptKeys};

/// Adds to `table` what `numbering.lua` documents of a group's history.
pub(super) fn add_history(
    table: LuaTable,
    keys: &mut ScriptKeys,
    names: &Names,
    group: &GroupName,
    kept: Retention,
) -> LuaTable {
    table
        .number("numbering", keys.place(names.numbering(group)))
        .number("log", keys.place(names.log(group)))
        .number("size", u64::from(kept.size))
        .millis("log_ms", kept.ttl)
        .millis("numbering_ms", kept.ttl + history::NUMBERING)
        .text("overflow_field", names.overflow_field(group))
}

/// The histories of the groups among the publications of one script.
#[derive(Default)]
pub(super) struct HistoryTables<'a> {
    /// The place of each group's, from 1.
    places: HashMap<&'a GroupName, u64>,
    tables: Vec<LuaTable>,
}

impl<'a> HistoryTables<'a> {
    /// The place of the history of `group`, which is added if it is new.
    pub(super) fn place(
        &mut self,
        group: &'a GroupName,
        kept: Retention,
        names: &Names,
        keys: &mut ScriptKeys,
    ) -> u64 {
        let next = self.tables.len() as u64 + 1;
        match self.places.entry(group) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.tables.push(add_history(LuaTable::new(), keys, names, group, kept));
                *new.insert(next)
            }
        }
    }

    pub(super) fn into_tables(self) -> Vec<LuaTable> {
        self.tables
    }
}
