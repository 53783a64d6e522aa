//! Publications under keys that one script sends.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::history_tables::HistoryTables;
use super::names::Names;
use super::script_batch::{KEPT_WEIGHT, MAX_BYTES, MAX_WEIGHT};
use crate::event::Target;
use crate::group::GroupName;
use crate::layer::envelope::EnvelopeCodec;
use crate::layer::history::History;
use crate::layer::{KeyedPublication, OnceKey, Parking, WhenFull};
use crate::lua_table::{LuaTable, ScriptKeys};

/// The keys and arguments of one call of `once.lua`.
pub(super) struct OnceBatch<'a> {
    names: &'a Names,
    history: &'a History,
    codec: &'a EnvelopeCodec,
    parking: Parking,
    keys: ScriptKeys,
    scopes: Tables<&'a str>,
    histories: HistoryTables<'a>,
    /// Of groups without history.
    parked: Tables<&'a GroupName>,
    publications: Vec<Bytes>,
    bytes: usize,
    weight: usize,
}

/// Tables that publications name by place, from 1.
struct Tables<K> {
    places: HashMap<K, u64>,
    tables: Vec<LuaTable>,
}

/// Weight of a key: 10 µs, against 2.3 for the weight of 1.
const KEY_WEIGHT: usize = 4;

impl<'a> OnceBatch<'a> {
    pub(super) fn new(
        names: &'a Names,
        history: &'a History,
        codec: &'a EnvelopeCodec,
        parking: Parking,
    ) -> Self {
        Self {
            names,
            history,
            codec,
            parking,
            keys: ScriptKeys::new(vec![names.generation(), names.parking()]),
            scopes: Tables::new(),
            histories: HistoryTables::default(),
            parked: Tables::new(),
            publications: Vec::new(),
            bytes: 0,
            weight: 0,
        }
    }

    /// Takes as many of `publications` as there is room for, at least one. Returns the rest.
    pub(super) fn fill(
        &mut self,
        publications: &'a [KeyedPublication],
        now: Instant,
    ) -> &'a [KeyedPublication] {
        for (index, keyed) in publications.iter().enumerate() {
            let channel = self.names.of(&keyed.publication.target);
            let envelope = self.codec.publication(&channel, &keyed.publication, now);
            if !self.add(keyed, channel, envelope) {
                return &publications[index..];
            }
        }
        &[]
    }

    /// Takes a publication if there is room. Whether there was.
    fn add(&mut self, keyed: &'a KeyedPublication, channel: String, envelope: Vec<u8>) -> bool {
        let KeyedPublication { publication, key } = keyed;
        let kept = match &publication.target {
            Target::Group(group) => self.history.of(group).map(|kept| (group, kept)),
            Target::User(_) | Target::Connection(_) | Target::All => None,
        };
        let weight = if kept.is_some() { KEPT_WEIGHT } else { 1 };
        let weight = self.weight + weight + if key.is_some() { KEY_WEIGHT } else { 0 };
        let bytes = self.bytes + envelope.len();
        let is_first = self.publications.is_empty();
        if !is_first && (weight > MAX_WEIGHT || bytes > MAX_BYTES) {
            return false;
        }
        (self.weight, self.bytes) = (weight, bytes);
        let table = LuaTable::new()
            .text("id", publication.id.0.to_be_bytes())
            .text("channel", channel)
            .text("envelope", envelope);
        let table = match key {
            Some(key) => self.with_key(table, key, &publication.target),
            None => table,
        };
        let table = match (&publication.target, kept) {
            (Target::Group(_), Some((group, kept))) => {
                let place = self.histories.place(group, kept, self.names, &mut self.keys);
                table.number("history", place)
            }
            (Target::Group(group), None) => table.number("parked", self.place_of_parked(group)),
            _ => table,
        };
        self.publications.push(table.pack());
        true
    }

    fn with_key(&mut self, table: LuaTable, key: &'a OnceKey, target: &Target) -> LuaTable {
        let (names, keys) = (self.names, &mut self.keys);
        let scope = self.scopes.place(&*key.scope, || {
            let table = LuaTable::new()
                .number("marks", keys.place(names.once_marks(&key.scope)))
                .number("order", keys.place(names.once_order(&key.scope)))
                .number("capacity", key.capacity.into());
            match key.when_full {
                WhenFull::Refuse => table,
                WhenFull::ForgetOldest => table.number("forgets", 1),
            }
        });
        table.number("scope", scope).text("mark", key.mark(target).0).text("content", key.content.0)
    }

    fn place_of_parked(&mut self, group: &'a GroupName) -> u64 {
        let (names, keys) = (self.names, &mut self.keys);
        self.parked.place(group, || {
            LuaTable::new()
                .number("parked", keys.place(names.parked(group)))
                .number("mark", keys.place(names.parked_mark(group)))
        })
    }

    /// Keys and arguments of the script.
    pub(super) fn command(
        self,
        generation: String,
        random: String,
        window: Duration,
    ) -> (Vec<String>, Vec<Bytes>) {
        let batch = LuaTable::new()
            .text("generation", generation)
            .text("random", random)
            .millis("window_ms", window)
            .number("max_parked", self.parking.most.into())
            .millis("parked_ms", self.parking.span)
            .tables("scopes", self.scopes.tables)
            .tables("histories", self.histories.into_tables())
            .tables("parked_groups", self.parked.tables);
        let arguments = std::iter::once(batch.pack()).chain(self.publications).collect();
        (self.keys.into_vec(), arguments)
    }
}

impl<K: Eq + std::hash::Hash> Tables<K> {
    fn new() -> Self {
        Self { places: HashMap::new(), tables: Vec::new() }
    }

    /// The place of what `key` names, which is made if it is new.
    fn place(&mut self, key: K, make: impl FnOnce() -> LuaTable) -> u64 {
        let next = self.tables.len() as u64 + 1;
        *self.places.entry(key).or_insert_with(|| {
            self.tables.push(make());
            next
        })
    }
}
