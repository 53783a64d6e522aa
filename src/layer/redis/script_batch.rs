//! Publications that one script sends, with one command and one answer. A PUBLISH for each would
//! cost the gateway some 20 µs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Instant;

use bytes::Bytes;

use super::names::Names;
use super::script::{millis, number};
use crate::event::{InstanceId, Publication, Target};
use crate::group::GroupName;
use crate::layer::envelope;
use crate::layer::history::{self, History};

/// Greatest weight of a batch: a running script blocks Redis. 256 publications without
/// history took 0.4 ms on one busy core.
const MAX_WEIGHT: usize = 256;

/// Weight of a publication of a group with history, which is also numbered and kept: 12 µs against
/// 1.5.
const KEPT_WEIGHT: usize = 8;

/// Most bytes of channels and envelopes in a batch; a larger publication goes alone.
const MAX_BYTES: usize = 256 * 1024;

/// The keys and arguments of one call of `publish_many.lua`.
pub(super) struct ScriptBatch<'a> {
    names: &'a Names,
    history: &'a History,
    instance: InstanceId,
    /// The number of each group with history, from 1.
    groups: HashMap<&'a GroupName, usize>,
    /// Their keys: numbering and log.
    keys: Vec<String>,
    /// Their four values, as the script documents them.
    histories: Vec<Bytes>,
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
            groups: HashMap::new(),
            keys: Vec::new(),
            histories: Vec::new(),
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
        let group = kept.map_or(0, |(group, kept)| {
            let next = self.groups.len() + 1;
            match self.groups.entry(group) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    self.keys.extend([self.names.numbering(group), self.names.log(group)]);
                    let numbering_ms = millis(kept.ttl + history::NUMBERING);
                    let size = number(u64::from(kept.size));
                    let overflow_field = self.names.overflow_field(group).into();
                    self.histories.extend([size, millis(kept.ttl), numbering_ms, overflow_field]);
                    *new.insert(next)
                }
            }
        });
        self.weight += weight;
        self.parts.push(Part { group, channel_end, end });
        true
    }

    /// Keys and arguments of the script, and of each publication whether its group has a history.
    pub(super) fn command(
        self,
        generation_key: String,
        generation: Bytes,
        epoch: Bytes,
    ) -> (Vec<String>, Vec<Bytes>, Vec<bool>) {
        let keys = [generation_key].into_iter().chain(self.keys).collect();
        let mut arguments = Vec::with_capacity(2 + self.histories.len() + 3 * self.parts.len());
        arguments.extend([generation, epoch]);
        arguments.extend(self.histories);
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
