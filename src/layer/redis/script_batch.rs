//! Publications that one script sends, with one command and one answer. A PUBLISH for each would
//! cost the gateway some 20 µs.

use std::time::Instant;

use bytes::Bytes;

use super::history_tables::HistoryTables;
use super::names::Names;
use crate::event::{Publication, Target};
use crate::layer::envelope::EnvelopeCodec;
use crate::layer::history::History;
use crate::lua_table::{LuaTable, ScriptKeys};

/// Greatest weight of a batch: a running script blocks Redis. 256 publications without
/// history took 0.6 ms on one busy core.
pub(super) const MAX_WEIGHT: usize = 256;

/// Weight of a publication of a group with history, which is also numbered and kept: 12 µs against
/// 2.3.
pub(super) const KEPT_WEIGHT: usize = 8;

/// Most bytes of publications in a batch; a larger publication goes alone.
pub(super) const MAX_BYTES: usize = 256 * 1024;

/// The keys and arguments of one call of `publish_many.lua`.
pub(super) struct ScriptBatch<'a> {
    names: &'a Names,
    history: &'a History,
    codec: &'a EnvelopeCodec,
    keys: ScriptKeys,
    histories: HistoryTables<'a>,
    parts: Vec<Part>,
    /// The tables of all publications, in one allocation.
    tables: Vec<u8>,
    /// Channel and envelope of the publication that is being added.
    channel: Vec<u8>,
    envelope: Vec<u8>,
    weight: usize,
}

/// One publication.
struct Part {
    /// Whether its group has a history.
    is_kept: bool,
    /// Where its table ends in [`ScriptBatch::tables`]; it begins where the one before ended.
    end: usize,
}

impl<'a> ScriptBatch<'a> {
    pub(super) fn new(names: &'a Names, history: &'a History, codec: &'a EnvelopeCodec) -> Self {
        Self {
            names,
            history,
            codec,
            keys: ScriptKeys::new(vec![names.generation(), names.parking()]),
            histories: HistoryTables::default(),
            parts: Vec::new(),
            tables: Vec::new(),
            channel: Vec::new(),
            envelope: Vec::new(),
            weight: 0,
        }
    }

    /// Takes as many of `publications` as there is room for, at least one. Returns the rest.
    pub(super) fn fill(
        &mut self,
        publications: &'a [Publication],
        now: Instant,
    ) -> &'a [Publication] {
        for (index, publication) in publications.iter().enumerate() {
            if !self.add(publication, now) {
                return &publications[index..];
            }
        }
        &[]
    }

    /// Takes `publication` if there is room. Whether there was.
    fn add(&mut self, publication: &'a Publication, now: Instant) -> bool {
        let kept = match &publication.target {
            Target::Group(group) => self.history.of(group).map(|kept| (group, kept)),
            Target::User(_) | Target::Connection(_) | Target::All => None,
        };
        let weight = if kept.is_some() { KEPT_WEIGHT } else { 1 };
        let is_first = self.parts.is_empty();
        if !is_first && self.weight + weight > MAX_WEIGHT {
            return false;
        }
        self.channel.clear();
        self.names.write(&publication.target, &mut self.channel);
        self.envelope.clear();
        self.codec.append(&mut self.envelope, &self.channel, publication, now);
        let bytes = self.tables.len() + self.channel.len() + self.envelope.len();
        if !is_first && bytes > MAX_BYTES {
            return false;
        }
        let mut table = LuaTable::behind(std::mem::take(&mut self.tables))
            .text("channel", &self.channel)
            .text("envelope", &self.envelope);
        if let Some((group, kept)) = kept {
            let place = self.histories.place(group, kept, self.names, &mut self.keys);
            table = table.number("history", place);
        }
        self.tables = table.into_bytes();
        self.weight += weight;
        self.parts.push(Part { is_kept: kept.is_some(), end: self.tables.len() });
        true
    }

    /// Keys and arguments of the script, and of each publication whether its group has a history.
    pub(super) fn command(
        self,
        generation: String,
        random: String,
    ) -> (Vec<String>, Vec<Bytes>, Vec<bool>) {
        let batch = LuaTable::new()
            .text("generation", generation)
            .text("random", random)
            .tables("histories", self.histories.into_tables());
        let mut arguments = Vec::with_capacity(1 + self.parts.len());
        arguments.push(batch.pack());
        let tables = Bytes::from(self.tables);
        let mut start = 0;
        for part in &self.parts {
            arguments.push(tables.slice(start..part.end));
            start = part.end;
        }
        let kept = self.parts.iter().map(|part| part.is_kept).collect();
        (self.keys.into_vec(), arguments, kept)
    }
}
