//! Entries on their way from a source to the script that publishes and removes them.

use std::time::Instant;

use super::decoder::EntryDecoder;
use super::entry::SourceEntry;
use super::reply::{DrainReply, NotDrained};
use super::seen::Seen;
use super::source::DurableSource;
use crate::event::{Event, Publication, Target};
use crate::group::GroupName;
use crate::layer::ScriptError;
use crate::telemetry::EntryFate;

/// Bytes given to one draining script, as far as entries are smaller than that: an entry for many
/// connections is written once for each.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What was read from one source.
#[derive(Debug)]
pub(super) struct EntryBatch {
    pub(super) index: usize,
    pub(super) entries: Vec<SourceEntry>,
    /// Whether there is more than was read.
    pub(super) more: bool,
}

/// The same, decoded.
#[derive(Debug, Default)]
pub(super) struct DecodedBatch {
    /// Of each entry the publications; none of one that is only to be removed.
    pub(super) publications: Vec<Vec<Publication>>,
    /// Entries that this instance has removed before.
    pub(super) duplicates: u64,
    /// Entries that cannot be decoded, and the error of the last.
    pub(super) undecodable: u64,
    pub(super) error: Option<String>,
}

/// How a batch ended.
pub(super) struct BatchOutcome {
    pub(super) batch: EntryBatch,
    pub(super) decoded: DecodedBatch,
    pub(super) reply: Result<Result<DrainReply, NotDrained>, ScriptError>,
}

impl EntryBatch {
    /// Decodes all entries, or as many as one script takes: the others are left for the next batch.
    pub(super) fn decode(&mut self, decoder: &EntryDecoder, seen: &Seen) -> DecodedBatch {
        let now = Instant::now();
        let mut decoded = DecodedBatch::default();
        let mut bytes = 0;
        for entry in &self.entries {
            if bytes > MAX_BYTES {
                break;
            }
            let publications = decoded.add(entry, decoder, seen, now);
            bytes += publications.iter().map(|it| it.event.json().len()).sum::<usize>();
            decoded.publications.push(publications);
        }
        self.more |= decoded.publications.len() < self.entries.len();
        self.entries.truncate(decoded.publications.len());
        decoded
    }
}

impl DecodedBatch {
    fn add(
        &mut self,
        entry: &SourceEntry,
        decoder: &EntryDecoder,
        seen: &Seen,
        now: Instant,
    ) -> Vec<Publication> {
        if seen.contains(entry.id()) {
            self.duplicates += 1;
            return Vec::new();
        }
        decoder.decode(entry, now).unwrap_or_else(|error| {
            self.undecodable += 1;
            self.error = Some(error.to_string());
            Vec::new()
        })
    }
}

impl BatchOutcome {
    /// What Django's consumers may be sent of it: events for groups that did not come from Django.
    pub(super) fn for_consumers(
        &self,
        source: DurableSource,
    ) -> impl Iterator<Item = (&GroupName, &Event)> {
        let reply = self.reply.iter().flatten().filter(move |_| source == DurableSource::Ingress);
        let fates = reply.flat_map(|reply| &reply.fates);
        let published = self.decoded.publications.iter().zip(fates);
        published
            .filter(|(_, fate)| {
                matches!(fate, EntryFate::Sent | EntryFate::Parked | EntryFate::NoListener)
            })
            .flat_map(|(publications, _)| publications)
            .filter_map(|publication| match &publication.target {
                Target::Group(group) => Some((group, &publication.event)),
                Target::User(_) | Target::Connection(_) | Target::All => None,
            })
    }
}
