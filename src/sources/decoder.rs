//! Decodes entries into publications, each source's in its own format.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::entry::{
    DecodedEntry, EntryAction, EntryContent, EntryError, SourceEntry, UndecodableEntry,
};
use super::stream;
use crate::channels::{Codec, MailboxNames};
use crate::clock;
use crate::event::{PossibleLoss, Publication, Target};
use crate::excerpt::excerpt;

/// Longest channel name that an error shows, characters.
const MAX_NAME: usize = 120;

/// Decodes entries of all sources.
pub(super) struct EntryDecoder {
    pub(super) codec: Arc<Codec>,
    pub(super) mailboxes: MailboxNames,
    pub(super) max_event_bytes: usize,
}

impl EntryDecoder {
    /// Decodes an entry. The present is the time at which its publications count as accepted.
    pub(super) fn decode(
        &self,
        entry: &SourceEntry,
        now: Instant,
    ) -> Result<EntryAction, UndecodableEntry> {
        if let Some(group) = MailboxNames::read_loss_mark(&entry.key) {
            return Ok(EntryAction::ReportLoss(PossibleLoss::Groups(vec![group])));
        }
        // A panic discards only this entry.
        let decoding = AssertUnwindSafe(|| self.publications(entry, now));
        let decoded = catch_unwind(decoding).unwrap_or(Err(EntryError::Panic));
        decoded.map(EntryAction::Publish).map_err(|error| {
            let targets = catch_unwind(AssertUnwindSafe(|| self.targets_of_undecodable(entry)));
            UndecodableEntry { error, targets: targets.unwrap_or_default() }
        })
    }

    fn targets_of_undecodable(&self, entry: &SourceEntry) -> Vec<Target> {
        match &entry.content {
            EntryContent::Score(_) => {
                let channels = self.codec.channels_of_unreadable(&entry.key);
                channels.iter().filter_map(|name| self.mailboxes.target(name)).collect()
            }
            EntryContent::Fields(fields) => stream::target(fields).into_iter().collect(),
        }
    }

    fn publications(
        &self,
        entry: &SourceEntry,
        now: Instant,
    ) -> Result<Vec<Publication>, EntryError> {
        let decoded = match &entry.content {
            EntryContent::Score(_) => self.message(&entry.key)?,
            EntryContent::Fields(fields) => stream::decode(fields)?,
        };
        let (bytes, most) = (decoded.event.json().len(), self.max_event_bytes);
        if bytes > most {
            return Err(EntryError::TooLarge { bytes, most });
        }
        let id = entry.id();
        let left = decoded.expiry.map(|expiry| expiry.saturating_sub(entry.waited));
        let publication = |target| Publication {
            id,
            target,
            event: decoded.event.clone(),
            except: Default::default(),
            accepted: now,
            deadline: left.and_then(|left| now.checked_add(left)),
            position: None,
        };
        Ok(decoded.targets.into_iter().map(publication).collect())
    }

    /// A message of channels_redis.
    fn message(&self, message: &[u8]) -> Result<DecodedEntry, EntryError> {
        let received = self.codec.read(message, clock::unix_seconds())?;
        if received.channels.is_empty() {
            return Err(EntryError::ForeignChannel(String::new()));
        }
        let targets = received.channels.iter().map(|name| self.target(name));
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        Ok(DecodedEntry { targets, event: received.event, expiry: None })
    }

    fn target(&self, channel: &str) -> Result<Target, EntryError> {
        let foreign = || EntryError::ForeignChannel(excerpt(channel, MAX_NAME));
        self.mailboxes.target(channel).ok_or_else(foreign)
    }
}
