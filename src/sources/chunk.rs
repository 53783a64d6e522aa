//! Batches of several sources that one script drains.

use super::batch::{DecodedBatch, EntryBatch};
use super::command::{MAX_BYTES, MAX_ENTRIES};
use super::reply::Drained;
use super::source::KeyType;
use crate::layer::ScriptError;

/// Most bytes of the events of several batches in one draining script: as many as are read of one
/// source.
const MAX_SHARED_BYTES: usize = MAX_BYTES as usize;

/// Batches that one script drains.
pub(super) struct Chunk {
    pub(super) batches: Vec<(EntryBatch, DecodedBatch)>,
    bytes: usize,
}

/// The outcome of a chunk.
pub(super) struct ChunkOutcome {
    pub(super) batches: Vec<(EntryBatch, DecodedBatch)>,
    pub(super) reply: Result<Drained, ScriptError>,
    /// Whether the entries of each batch were removed, where that is a step of its own.
    pub(super) removed: Vec<Result<(), ScriptError>>,
}

impl Chunk {
    /// Shares batches among as few scripts as take them: what a script does once is most of the
    /// work for a few entries. An error of a script concerns all that it drains, so that sources of
    /// different types, for which Redis grants rights apart, do not share one.
    pub(super) fn share(
        batches: impl Iterator<Item = (EntryBatch, DecodedBatch)>,
        key_type: impl Fn(usize) -> KeyType,
    ) -> Vec<Self> {
        let mut chunks: Vec<(KeyType, Self)> = Vec::new();
        for (batch, decoded) in batches {
            let (of, bytes) = (key_type(batch.index), decoded.bytes);
            let fits = |(known, chunk): &&mut (KeyType, Self)| {
                let entries = chunk.batches.iter().map(|(batch, _)| batch.entries.len());
                *known == of
                    && entries.sum::<usize>() + batch.entries.len() <= MAX_ENTRIES as usize
                    && chunk.bytes + bytes <= MAX_SHARED_BYTES
            };
            match chunks.last_mut().filter(fits) {
                Some((_, chunk)) => {
                    chunk.batches.push((batch, decoded));
                    chunk.bytes += bytes;
                }
                None => chunks.push((of, Self { batches: vec![(batch, decoded)], bytes })),
            }
        }
        chunks.into_iter().map(|(_, chunk)| chunk).collect()
    }
}
