//! Parses the replies of the draining scripts.

use bytes::Bytes;

use super::entry::SourceEntry;
use super::metrics::EntryFate;
use super::source::{DurableSource, KeyType};
use crate::layer::{FromReply, Reply};

/// What was read from one source.
#[derive(Debug, PartialEq)]
pub(super) enum Look {
    /// Not read: the server holds other data than is known here.
    StaleGeneration,
    /// Not read: earlier sources used up the limit of one read.
    Unreached,
    /// Redis refuses to read it.
    Refused(String),
    /// To be read again in a moment: its first entry may have ended two processes.
    Suspended,
    /// Read, perhaps only its first entry.
    Read {
        entries: Vec<SourceEntry>,
        /// Entries at its head, left there before, behind which it was read.
        skipped: usize,
        /// Entries in the source, read or not.
        length: u64,
        /// Processes that ended with the first of them under way, or with others of its batch.
        ends: u64,
    },
}

/// What the draining script did.
#[derive(Debug, PartialEq)]
pub(super) enum Drained {
    /// Nothing: Redis was restarted or replaced.
    StaleGeneration,
    Done {
        /// The present by the layer's clock, ms.
        now_ms: u64,
        /// One for each source.
        replies: Vec<Result<DrainReply, NotDrained>>,
    },
}

/// What it did with the entries of one source.
#[derive(Debug, PartialEq)]
pub(super) struct DrainReply {
    /// The fate of each entry.
    pub(super) fates: Vec<EntryFate>,
    /// Whether the source was at its capacity.
    pub(super) full: bool,
    /// The error that left something in the source; empty = there was none.
    pub(super) cause: String,
    /// Channels of entries that were left, unless already known to be blocked.
    pub(super) blocked: Vec<String>,
    /// Under what senders on another server find groups that nobody holds.
    pub(super) abandoned: Vec<String>,
}

/// Why it did nothing with them.
#[derive(Debug, PartialEq)]
pub(super) enum NotDrained {
    /// They were read too long ago, by the layer's clock.
    StaleRead,
    /// Redis refuses to remove entries.
    Refused(String),
}

/// The result of reading `sources`.
pub(super) fn read_look(
    sources: impl Iterator<Item = DurableSource>,
    reply: Vec<Reply>,
) -> Option<Vec<Look>> {
    let mut reply = reply.into_iter();
    let now: u64 = reply.next()?.convert()?;
    let looks = sources.zip(reply).map(|(source, found)| read_source(source, found, now));
    looks.collect()
}

/// `now`: by Redis' clock, ms.
fn read_source(source: DurableSource, found: Reply, now: u64) -> Option<Look> {
    let mut parts = Vec::<Reply>::from_reply(found)?.into_iter();
    let outcome: String = parts.next()?.convert()?;
    match outcome.as_str() {
        "stale_generation" => Some(Look::StaleGeneration),
        "unreached" => Some(Look::Unreached),
        "suspended" => Some(Look::Suspended),
        "refused" => Some(Look::Refused(parts.next()?.convert()?)),
        _ => {
            let length = parts.next()?.convert()?;
            let skipped: u64 = parts.next()?.convert()?;
            let ends = parts.next()?.convert()?;
            let mut entries = Vec::with_capacity(parts.len() / 2);
            while let (Some(key), Some(content)) = (parts.next(), parts.next()) {
                entries.push(read_entry(source.key_type(), key.convert()?, content, now)?);
            }
            Some(Look::Read { entries, skipped: usize::try_from(skipped).ok()?, length, ends })
        }
    }
}

fn read_entry(key_type: KeyType, key: Bytes, content: Reply, now: u64) -> Option<SourceEntry> {
    match key_type {
        KeyType::Set => Some(SourceEntry::scored(key, content.convert()?)),
        KeyType::Stream => Some(SourceEntry::streamed(key, content.convert()?, now)),
    }
}

impl FromReply for Drained {
    fn from_reply(reply: Reply) -> Option<Self> {
        let mut parts = Vec::<Reply>::from_reply(reply)?.into_iter();
        let outcome: String = parts.next()?.convert()?;
        if outcome == "stale_generation" {
            return Some(Self::StaleGeneration);
        }
        let now_ms = parts.next()?.convert()?;
        Some(Self::Done { now_ms, replies: parts.map(read_drained).collect::<Option<_>>()? })
    }
}

fn read_drained(reply: Reply) -> Option<Result<DrainReply, NotDrained>> {
    let mut parts = Vec::<Reply>::from_reply(reply)?.into_iter();
    let outcome: String = parts.next()?.convert()?;
    match outcome.as_str() {
        "stale_read" => return Some(Err(NotDrained::StaleRead)),
        "refused" => return Some(Err(NotDrained::Refused(parts.next()?.convert()?))),
        _ => {}
    }
    let fates: Vec<String> = parts.next()?.convert()?;
    let full: i64 = parts.next()?.convert()?;
    Some(Ok(DrainReply {
        fates: fates.iter().map(|name| fate(name)).collect::<Option<_>>()?,
        full: full == 1,
        cause: parts.next()?.convert()?,
        blocked: parts.next()?.convert()?,
        abandoned: parts.next()?.convert()?,
    }))
}

fn fate(name: &str) -> Option<EntryFate> {
    Some(match name {
        "sent" => EntryFate::Sent,
        "parked" => EntryFate::Parked,
        "no_listener" => EntryFate::NoListener,
        "removed" => EntryFate::Removed,
        "taken_elsewhere" => EntryFate::TakenElsewhere,
        "left_in_source" => EntryFate::LeftInSource,
        _ => return None,
    })
}
