//! Batches of entries, from a source to the script that publishes and removes them.

use std::time::Instant;

use super::decoder::EntryDecoder;
use super::entry::{EntryAction, EntryError, SourceEntry, UndecodableEntry};
use super::metrics::EntryFate;
use super::poison::{Poison, Suspects};
use super::reply::DrainReply;
use super::seen::Seen;
use super::source::DurableSource;
use crate::event::{Event, PossibleLoss, Target};
use crate::group::GroupName;

/// Most bytes passed to one draining script, unless a single entry is larger: an entry for many
/// connections is written once for each.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of an entry that are kept where it is set aside.
const MAX_KEPT: usize = 4096;

/// The entries read from one source.
#[derive(Debug)]
pub(super) struct EntryBatch {
    pub(super) index: usize,
    pub(super) entries: Vec<SourceEntry>,
    /// Whether the source holds more entries than were read.
    pub(super) more: bool,
}

/// The decoded entries.
#[derive(Debug, Default)]
pub(super) struct DecodedBatch {
    /// The action for each entry.
    pub(super) actions: Vec<EntryAction>,
    /// Bytes of their events.
    pub(super) bytes: usize,
    /// Entries that this instance has removed before.
    pub(super) duplicates: u64,
    /// The number of entries that cannot be decoded, and the last of them.
    pub(super) undecodable: u64,
    pub(super) error: Option<UndecodableReport>,
    /// The number of entries that are set aside.
    pub(super) set_aside: u64,
}

/// An undecodable entry, for the log.
#[derive(Debug)]
pub(super) struct UndecodableReport {
    pub(super) error: String,
    /// Its targets, as far as they could be read.
    pub(super) targets: Vec<Target>,
}

impl EntryBatch {
    /// Decodes all entries, or as many as one script takes: the others are left for the next batch.
    ///
    /// Reports an undecodable entry as a possible loss to its groups; if these cannot be read
    /// either, to `share`, all groups of the source, which is taken then.
    pub(super) fn decode(
        &mut self,
        decoder: &EntryDecoder,
        (seen, suspects): (&Seen, &Suspects),
        share: &mut Option<PossibleLoss>,
    ) -> DecodedBatch {
        let now = Instant::now();
        let mut decoded = DecodedBatch::default();
        for entry in &self.entries {
            if decoded.bytes > MAX_BYTES {
                break;
            }
            let action = decoded.add(entry, decoder, (seen, suspects), share, now);
            let publications = action.publications().iter();
            decoded.bytes += publications.map(|it| it.event.json().len()).sum::<usize>();
            decoded.actions.push(action);
        }
        self.more |= decoded.actions.len() < self.entries.len();
        self.entries.truncate(decoded.actions.len());
        decoded
    }
}

impl DecodedBatch {
    fn add(
        &mut self,
        entry: &SourceEntry,
        decoder: &EntryDecoder,
        (seen, suspects): (&Seen, &Suspects),
        share: &mut Option<PossibleLoss>,
        now: Instant,
    ) -> EntryAction {
        let id = entry.id();
        if seen.contains(id) {
            self.duplicates += 1;
            return EntryAction::Remove;
        }
        let poison = suspects.poison(id);
        if let Some(Poison { why, is_decodable: false }) = poison {
            return self.set_aside(entry, share.take(), why.clone());
        }
        match (decoder.decode(entry, now), poison) {
            (Ok(action), None) => action,
            (Ok(action), Some(poison)) => {
                let targets = action.publications().iter().map(|it| it.target.clone());
                let loss = loss_of(&targets.collect::<Vec<_>>(), share);
                self.set_aside(entry, loss, poison.why.clone())
            }
            (Err(UndecodableEntry { error, targets }), _) => {
                self.undecodable += 1;
                let loss = loss_of(&targets, share);
                let text = error.to_string();
                self.error = Some(UndecodableReport { error: text.clone(), targets });
                if error == EntryError::Panic {
                    return self.set_aside(entry, loss, text);
                }
                loss.map_or(EntryAction::Remove, EntryAction::ReportLoss)
            }
        }
    }

    fn set_aside(
        &mut self,
        entry: &SourceEntry,
        loss: Option<PossibleLoss>,
        why: String,
    ) -> EntryAction {
        self.set_aside += 1;
        EntryAction::SetAside { loss, why, content: entry.content(MAX_KEPT) }
    }
}

/// The loss to report for an entry for `targets`.
fn loss_of(targets: &[Target], share: &mut Option<PossibleLoss>) -> Option<PossibleLoss> {
    let mut groups = Vec::new();
    for target in targets {
        match target {
            Target::Group(group) => groups.push(group.clone()),
            Target::All => return Some(PossibleLoss::ALL),
            // Gaps exist only for groups; the log names the user or the connection.
            Target::User(_) | Target::Connection(_) => {}
        }
    }
    match targets.is_empty() {
        true => share.take(),
        false => (!groups.is_empty()).then_some(PossibleLoss::Groups(groups)),
    }
}

impl DecodedBatch {
    /// The publications that may be forwarded to Django's consumers: events for groups that did not
    /// come from Django.
    pub(super) fn for_consumers(
        &self,
        source: DurableSource,
        reply: &DrainReply,
    ) -> impl Iterator<Item = (&GroupName, &Event)> {
        let published = self.actions.iter().zip(reply.fates.clone());
        published
            .filter(move |_| source == DurableSource::Ingress)
            .filter(|(_, fate)| {
                matches!(fate, EntryFate::Sent | EntryFate::Parked | EntryFate::NoListener)
            })
            .flat_map(|(action, _)| action.publications())
            .filter_map(|publication| match &publication.target {
                Target::Group(group) => Some((group, &publication.event)),
                Target::User(_) | Target::Connection(_) | Target::All => None,
            })
    }
}
