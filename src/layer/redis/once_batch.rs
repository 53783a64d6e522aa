//! Publications under keys that one script sends.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::history_arguments::HistoryArguments;
use super::names::Names;
use super::script::{millis, number};
use super::script_batch::{KEPT_WEIGHT, MAX_BYTES, MAX_WEIGHT};
use crate::event::{InstanceId, Target};
use crate::group::GroupName;
use crate::layer::history::History;
use crate::layer::{Digest, KeyedPublication, OnceKey, Parking, envelope};

/// The keys and arguments of one call of `once.lua`.
pub(super) struct OnceBatch<'a> {
    names: &'a Names,
    history: &'a History,
    instance: InstanceId,
    parking: Parking,
    /// The number of each scope, from 1.
    scopes: HashMap<&'a str, usize>,
    /// Their keys: marks and order.
    scope_keys: Vec<String>,
    capacities: Vec<Bytes>,
    histories: HistoryArguments<'a>,
    /// The number of each group without history, from 1.
    unnumbered: HashMap<&'a GroupName, usize>,
    /// Their keys: what is parked for them, and its mark.
    parked_keys: Vec<String>,
    /// Eight for each publication, as the script documents them.
    publications: Vec<Bytes>,
    bytes: usize,
    weight: usize,
}

/// Weight of a key: 10 µs, against 1.5 for the weight of 1.
const KEY_WEIGHT: usize = 4;

impl<'a> OnceBatch<'a> {
    pub(super) fn new(
        names: &'a Names,
        history: &'a History,
        instance: InstanceId,
        parking: Parking,
    ) -> Self {
        Self {
            names,
            history,
            instance,
            parking,
            scopes: HashMap::new(),
            scope_keys: Vec::new(),
            capacities: Vec::new(),
            histories: HistoryArguments::default(),
            unnumbered: HashMap::new(),
            parked_keys: Vec::new(),
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
            let envelope = envelope::publication(self.instance, &keyed.publication, now);
            if !self.add(keyed, envelope) {
                return &publications[index..];
            }
        }
        &[]
    }

    /// Takes a publication if there is room. Whether there was.
    fn add(&mut self, keyed: &'a KeyedPublication, envelope: Vec<u8>) -> bool {
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
        let scope = key.as_ref().map_or(0, |key| self.scope(key));
        let group = kept.map_or(0, |(group, kept)| self.histories.number(group, kept, self.names));
        let parked = match &publication.target {
            Target::Group(group) if kept.is_none() => self.number_of_parked(group),
            _ => 0,
        };
        let digest = |digest: Option<Digest>| {
            digest.map_or(Bytes::new(), |digest| Bytes::copy_from_slice(&digest.0))
        };
        self.publications.extend([
            number(scope as u64),
            digest(key.as_ref().map(|key| key.mark(&publication.target))),
            digest(key.as_ref().map(|key| key.content)),
            Bytes::copy_from_slice(&publication.id.0.to_be_bytes()),
            number(group as u64),
            number(parked as u64),
            self.names.of(&publication.target).into(),
            envelope.into(),
        ]);
        true
    }

    /// The number of the key's scope, which is added if it is new.
    fn scope(&mut self, key: &'a OnceKey) -> usize {
        let next = self.scopes.len() + 1;
        let number_of_scope = *self.scopes.entry(&key.scope).or_insert(next);
        if number_of_scope == next {
            let names = self.names;
            self.scope_keys.extend([names.once_marks(&key.scope), names.once_order(&key.scope)]);
            self.capacities.push(number(key.capacity.into()));
        }
        number_of_scope
    }

    /// The number of what is parked for a group without history.
    fn number_of_parked(&mut self, group: &'a GroupName) -> usize {
        let next = self.unnumbered.len() + 1;
        let number_of_group = *self.unnumbered.entry(group).or_insert(next);
        if number_of_group == next {
            self.parked_keys.extend([self.names.waiting(group), self.names.waited(group)]);
        }
        number_of_group
    }

    /// Keys and arguments of the script, whose own keys come first.
    pub(super) fn command(
        self,
        own_keys: [String; 2],
        generation: Bytes,
        epoch: Bytes,
        window: Duration,
    ) -> (Vec<String>, Vec<Bytes>) {
        let HistoryArguments { keys, values, .. } = self.histories;
        let keys = own_keys.into_iter().chain(self.scope_keys).chain(keys);
        let keys = keys.chain(self.parked_keys).collect();
        let (scopes, groups) = (self.scopes.len() as u64, self.unnumbered.len() as u64);
        let (most, span) = (number(self.parking.most.into()), millis(self.parking.span));
        let counts = [number(scopes), number(groups)];
        let mut arguments = vec![generation, epoch, millis(window), most, span];
        arguments.extend(counts);
        arguments.extend(self.capacities);
        arguments.extend(values);
        arguments.extend(self.publications);
        (keys, arguments)
    }
}
