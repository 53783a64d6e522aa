//! Decodes entries into publications, each source's in its own format.

use std::sync::Arc;
use std::time::Instant;

use super::entry::{DecodedEntry, EntryContent, EntryError, SourceEntry};
use super::stream;
use crate::channels::{Codec, MailboxNames};
use crate::clock;
use crate::event::{Publication, Target};
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
    /// The publications of an entry, one for each of its targets, accepted now.
    pub(super) fn decode(
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
