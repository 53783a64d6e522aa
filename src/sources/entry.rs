//! An entry of a source, raw and decoded.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

use crate::channels::codec::CodecError;
use crate::event::{Event, EventError, PossibleLoss, Publication, PublicationId, Target};

/// A raw entry.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SourceEntry {
    /// Its key in the source: the entry itself in a mailbox, its id in a stream.
    pub(super) key: Bytes,
    pub(super) content: EntryContent,
    /// How long it has waited by Redis' clock, from its id in a stream. Zero in a mailbox, whose
    /// scores come from the sender's clock.
    pub(super) waited: Duration,
}

/// What a source stores for an entry besides its key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum EntryContent {
    /// Its score in a mailbox.
    Score(Bytes),
    /// Names and values in turn.
    Fields(Vec<Bytes>),
}

/// What to do with an entry before it is removed.
#[derive(Debug)]
pub(super) enum EntryAction {
    /// Published to each of its targets. At least one.
    Publish(Vec<Publication>),
    /// Reported to the groups concerned: what it held, or what it stands for, may be lost.
    ReportLoss(PossibleLoss),
    /// Only removed.
    Remove,
    /// Removed, reported and kept where people find it.
    SetAside {
        loss: Option<PossibleLoss>,
        why: String,
        /// The beginning of the entry.
        content: Bytes,
    },
}

impl EntryAction {
    pub(super) fn publications(&self) -> &[Publication] {
        match self {
            Self::Publish(publications) => publications,
            Self::ReportLoss(_) | Self::Remove | Self::SetAside { .. } => &[],
        }
    }
}

/// A decoded entry.
#[derive(Debug)]
pub(super) struct DecodedEntry {
    /// At least one.
    pub(super) targets: Vec<Target>,
    pub(super) event: Event,
    /// Counted from when it was written.
    pub(super) expiry: Option<Duration>,
}

/// An entry that cannot be decoded.
#[derive(Debug)]
pub(super) struct UndecodableEntry {
    pub(super) error: EntryError,
    /// The targets, as far as they can be read.
    pub(super) targets: Vec<Target>,
}

/// Why an entry cannot be decoded. It is removed nevertheless, since it would block its source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EntryError {
    /// Not in the format of Django's settings.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Not an event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Larger than an event may be.
    #[error("event has {bytes} bytes; at most {most} are allowed")]
    TooLarge {
        /// Size of its JSON, bytes.
        bytes: usize,
        /// The limit, bytes.
        most: usize,
    },
    /// Addressed to no group and no connection of this cluster.
    #[error("message is for {0:?}; a channel name of this cluster is required")]
    ForeignChannel(String),
    /// A bug of the gateway.
    #[error("entry made the decoder panic")]
    Panic,
    /// Fields of a stream entry.
    #[error("stream entry has {0}; one of group, user, connection or all, and event are required")]
    Fields(String),
}

impl SourceEntry {
    /// Of a mailbox.
    pub(super) fn scored(member: Bytes, score: Bytes) -> Self {
        Self { key: member, content: EntryContent::Score(score), waited: Duration::ZERO }
    }

    /// Of a stream. `now`: by Redis' clock, ms.
    pub(super) fn streamed(id: Bytes, fields: Vec<Bytes>, now: u64) -> Self {
        let written = std::str::from_utf8(&id).ok().and_then(|id| id.split_once('-'));
        let written = written.and_then(|(ms, _)| ms.parse().ok()).unwrap_or(now);
        let waited = Duration::from_millis(now.saturating_sub(written));
        Self { key: id, content: EntryContent::Fields(fields), waited }
    }

    /// Its content, cut to `most` bytes.
    pub(super) fn content(&self, most: usize) -> Bytes {
        let mut content = match &self.content {
            EntryContent::Score(_) => self.key.to_vec(),
            EntryContent::Fields(fields) => fields.join(&b' '),
        };
        content.truncate(most);
        content.into()
    }

    /// Always the same for the same entry, also after a failover. A message sent twice has two ids,
    /// by its score or stream id.
    pub(super) fn id(&self) -> PublicationId {
        let mut text = self.key.to_vec();
        match &self.content {
            EntryContent::Score(score) => text.extend_from_slice(score),
            // A stream that lost its newest entries in a failover may reuse an id.
            EntryContent::Fields(fields) => {
                for field in fields {
                    text.push(0);
                    text.extend_from_slice(field);
                }
            }
        }
        let hash = digest(&SHA256, &text);
        let half = hash.as_ref()[..16].try_into().expect("a SHA-256 has 32 bytes");
        PublicationId(u128::from_be_bytes(half))
    }
}
