//! The state of a drainer between two reads.

use std::collections::HashSet;
use std::time::Instant;

use bytes::Bytes;

use super::batch::EntryBatch;
use super::metrics::EntryFate;
use super::poison::Suspects;
use super::reply::DrainReply;
use super::schedule::DrainSchedule;
use super::seen::Seen;
use crate::event::InstanceId;

/// Most blocked channels of a source; beyond that the whole source is blocked.
const MAX_BLOCKED: usize = 1024;

/// The state of all sources.
pub(super) struct DrainState {
    pub(super) schedule: DrainSchedule,
    pub(super) sources: Vec<SourceState>,
    /// A moment by the layer's clock before the latest read of another server, ms.
    pub(super) read_ms: u64,
}

/// The state of one source.
#[derive(Default)]
pub(super) struct SourceState {
    pub(super) seen: Seen,
    pub(super) suspects: Suspects,
    /// Entries in it when it was last read.
    length: u64,
    /// Entries at its head that were left there; the next read begins behind them.
    left: usize,
    /// The key of the last of them.
    last_left: Option<Bytes>,
    /// Their channels. Later entries for these are left, too, to keep the order.
    blocked: HashSet<String>,
    /// When all groups were last notified of entries whose groups could not be read.
    pub(super) unattributed_reported: Option<Instant>,
}

impl DrainState {
    pub(super) fn new(me: InstanceId, sources: usize, now: Instant) -> Self {
        Self {
            schedule: DrainSchedule::new(me, sources, now),
            sources: (0..sources).map(|_| SourceState::default()).collect(),
            read_ms: 0,
        }
    }

    /// Lets the next read retry all entries that were left.
    pub(super) fn retry_left(&mut self) {
        self.sources.iter_mut().for_each(SourceState::retry_left);
    }

    /// Entries in all sources.
    pub(super) fn backlog(&self) -> u64 {
        self.sources.iter().map(|source| source.length).sum()
    }
}

impl SourceState {
    /// Entries in it when it was last read.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn left(&self) -> usize {
        self.left
    }

    pub(super) fn last_left(&self) -> Option<&Bytes> {
        self.last_left.as_ref()
    }

    pub(super) fn blocked(&self) -> &HashSet<String> {
        &self.blocked
    }

    /// Whether so many entries were left that no further ones are read before those are retried.
    pub(super) fn is_jammed(&self) -> bool {
        self.blocked.len() > MAX_BLOCKED
    }

    /// Records a read that found `length` entries and skipped `skipped` of them.
    pub(super) fn looked(&mut self, length: u64, skipped: usize, read: usize) {
        self.length = length;
        // Other instances have taken some of the entries left here, so the head is unknown.
        if read > 0 && skipped < self.left {
            self.retry_left();
        }
    }

    /// Records the outcome of a batch.
    pub(super) fn drained(&mut self, batch: &EntryBatch, reply: &DrainReply) {
        for (entry, fate) in batch.entries.iter().zip(&reply.fates) {
            match fate {
                EntryFate::LeftInSource => {
                    self.left += 1;
                    self.last_left = Some(entry.key.clone());
                }
                EntryFate::TakenElsewhere => {}
                EntryFate::Sent
                | EntryFate::Parked
                | EntryFate::NoListener
                | EntryFate::Removed => self.seen.add(entry.id()),
            }
        }
        self.blocked.extend(reply.blocked.iter().cloned());
    }

    fn retry_left(&mut self) {
        (self.left, self.last_left) = (0, None);
        self.blocked.clear();
    }
}
