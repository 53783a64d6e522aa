//! Publications that one script sends, with one command and one answer. A PUBLISH for each would
//! cost the gateway some 20 µs.

use std::time::Instant;

use bytes::Bytes;

use super::history_arguments::HistoryArguments;
use super::names::Names;
use super::script::number;
use crate::event::{InstanceId, Publication, Target};
use crate::layer::envelope;
use crate::layer::history::History;

/// Greatest weight of a batch: a running script blocks Redis. 256 publications without
/// history took 0.4 ms on one busy core.
pub(super) const MAX_WEIGHT: usize = 256;

/// Weight of a publication of a group with history, which is also numbered and kept: 12 µs against
/// 1.5.
pub(super) const KEPT_WEIGHT: usize = 8;

/// Most bytes of channels and envelopes in a batch; a larger publication goes alone.
pub(super) const MAX_BYTES: usize = 256 * 1024;

/// The keys and arguments of one call of `publish_many.lua`.
pub(super) struct ScriptBatch<'a> {
    names: &'a Names,
    history: &'a History,
    instance: InstanceId,
    histories: HistoryArguments<'a>,
    parts: Vec<Part>,
    /// Channels and envelopes in turn, in one allocation.
    bytes: Vec<u8>,
    weight: usize,
}

/// One publication.
struct Part {
    /// The number of its group; 0 = without history.
    group: usize,
    /// Where its channel ends in [`ScriptBatch::bytes`]; it begins where the one before ended.
    channel_end: usize,
    /// Where its envelope ends, which begins behind the channel.
    end: usize,
}

impl<'a> ScriptBatch<'a> {
    pub(super) fn new(names: &'a Names, history: &'a History, instance: InstanceId) -> Self {
        Self {
            names,
            history,
            instance,
            histories: HistoryArguments::default(),
            parts: Vec::new(),
            bytes: Vec::new(),
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
        let before = self.bytes.len();
        let kept = match &publication.target {
            Target::Group(group) => self.history.of(group).map(|kept| (group, kept)),
            Target::User(_) | Target::Connection(_) | Target::All => None,
        };
        let weight = if kept.is_some() { KEPT_WEIGHT } else { 1 };
        let first = self.parts.is_empty();
        if !first && self.weight + weight > MAX_WEIGHT {
            return false;
        }
        self.names.write(&publication.target, &mut self.bytes);
        let channel_end = self.bytes.len();
        envelope::append(&mut self.bytes, self.instance, publication, now);
        let end = self.bytes.len();
        if !first && end > MAX_BYTES {
            self.bytes.truncate(before);
            return false;
        }
        let group = kept.map_or(0, |(group, kept)| self.histories.number(group, kept, self.names));
        self.weight += weight;
        self.parts.push(Part { group, channel_end, end });
        true
    }

    /// Keys and arguments of the script, whose own keys come first, and of each publication whether
    /// its group has a history.
    pub(super) fn command(
        self,
        own_keys: [String; 2],
        generation: Bytes,
        epoch: Bytes,
    ) -> (Vec<String>, Vec<Bytes>, Vec<bool>) {
        let HistoryArguments { keys, values, .. } = self.histories;
        let keys = own_keys.into_iter().chain(keys).collect();
        let mut arguments = Vec::with_capacity(2 + values.len() + 3 * self.parts.len());
        arguments.extend([generation, epoch]);
        arguments.extend(values);
        let bytes = Bytes::from(self.bytes);
        let mut start = 0;
        for Part { group, channel_end, end } in &self.parts {
            arguments.push(match group {
                0 => Bytes::from_static(b"0"),
                group => number(*group as u64),
            });
            arguments.extend([bytes.slice(start..*channel_end), bytes.slice(*channel_end..*end)]);
            start = *end;
        }
        (keys, arguments, self.parts.iter().map(|part| part.group != 0).collect())
    }
}
