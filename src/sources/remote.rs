//! Draining from a server besides the layer's, in two steps that are repeated without harm.
//!
//! The layer's server publishes what was read and marks it by its id in one step; then it is
//! removed where it was read. Whoever finds a marked entry only removes it. A mark outlives every
//! reader: what was read too long ago is not published, but read again.

use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::batch::EntryBatch;
use super::entry::EntryContent;
use super::metrics::EntryFate;
use super::reply::{DrainReply, NotDrained};
use crate::channels::Enrolment;
use crate::layer::{NUMBERING, RedisHandle, RemoteRedis, Script, ScriptError};
use crate::lua_table::LuaTable;

/// How long before it is published an entry may have been read. A process that was stopped in
/// between reads again.
const MAX_AGE: Duration = Duration::from_secs(10);

/// How long marks are kept once everything there has been read: twice what a reader may take.
const KEEP: Duration = Duration::from_secs(20);

/// How much longer than an entry a mark may be needed: clocks of senders differ.
const GRACE: Duration = Duration::from_secs(60);

/// How long an answer tells the layer's time.
const CLOCK_AGE: Duration = Duration::from_secs(5);

/// The server of some sources, and what is done there.
pub(super) struct RemoteSource {
    pub(super) redis: RemoteRedis,
    enrolment: Enrolment,
    /// How long entries may stay.
    expiry: Duration,
    /// The layer's time in ms, and when it was that or later. Never locked across an await.
    clock: Mutex<Option<(u64, Instant)>>,
    time: Script,
    remove: Script,
}

impl RemoteSource {
    pub(super) fn new(redis: RemoteRedis, enrolment: Enrolment, expiry: Duration) -> Self {
        let time = Script::new(&[NUMBERING, "return now_ms()"]);
        let remove = Script::new(&[include_str!("scripts/remove.lua")]);
        Self { redis, enrolment, expiry, clock: Mutex::default(), time, remove }
    }

    /// A moment by the layer's clock that is over, in ms: what is read from now on is younger. It
    /// is never too late, however long this process is stopped.
    pub(super) async fn moment(&self, layer: &RedisHandle) -> Result<u64, ScriptError> {
        let known = *self.clock.lock();
        if let Some((ms, at)) = known
            && at.elapsed() < CLOCK_AGE
        {
            return Ok(ms + at.elapsed().as_millis() as u64);
        }
        let ms = layer.run(&self.time, Vec::new(), Vec::new()).await?;
        self.set_layer_time(ms);
        Ok(ms)
    }

    /// The layer's time in ms, as it answered just now.
    pub(super) fn set_layer_time(&self, ms: u64) {
        *self.clock.lock() = Some((ms, Instant::now()));
    }

    /// What `drain.lua` needs of a source that held `length` entries when it was read, at
    /// `read_ms`; `is_whole` = all of them were read.
    pub(super) fn table(&self, length: u64, read_ms: u64, is_whole: bool) -> LuaTable {
        let window = self.expiry + GRACE;
        LuaTable::new()
            .number("length", length)
            .number("read_ms", read_ms)
            .millis("max_age_ms", MAX_AGE)
            .millis("keep_ms", if is_whole { KEEP } else { window })
            .millis("window_ms", window)
    }

    /// Removes the entries of a batch that are settled, and the registrations that led there in
    /// vain.
    pub(super) async fn remove(
        &self,
        key: &str,
        batch: &EntryBatch,
        reply: &Result<DrainReply, NotDrained>,
    ) -> Result<(), ScriptError> {
        let Ok(reply) = reply else { return Ok(()) };
        let mut arguments: Vec<Bytes> = Vec::with_capacity(2 * batch.entries.len());
        for (entry, fate) in batch.entries.iter().zip(&reply.fates) {
            if let EntryContent::Score(score) = &entry.content
                && *fate != EntryFate::LeftInSource
            {
                arguments.extend([entry.key.clone(), score.clone()]);
            }
        }
        let keys = vec![key.to_owned(), self.redis.under_way()];
        self.redis.run::<u64>(&self.remove, keys, arguments).await?;
        if !reply.abandoned.is_empty() {
            self.enrolment.abandon(&reply.abandoned).await;
        }
        Ok(())
    }
}
