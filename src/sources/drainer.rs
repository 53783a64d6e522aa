//! Drains sources: reads without removing, then lets one script publish and remove, entry by entry.
//!
//! Removal is the fence. The script publishes only entries that are still there, in order, and
//! removes them in the same step. An instance that was stopped for a while finds its entries
//! removed, and one that ends before or after the script loses and repeats nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::{sleep, sleep_until};

use super::batch::{DecodedBatch, EntryBatch, UndecodableReport};
use super::bounds::Bounds;
use super::chunk::{Chunk, ChunkOutcome};
use super::command::{self, DrainCommand, DrainedSource};
use super::decoder::EntryDecoder;
use super::health::DrainHealth;
use super::metrics::SourceMetrics;
use super::place::SourcePlace;
use super::remote::RemoteSource;
use super::reply::{DrainReply, Drained, Look, NotDrained, read_look};
use super::schedule::DrainDecision;
use super::source::{DurableSource, SourceList};
use super::state::{DrainState, SourceState};
use crate::channels::{ForwardQueue, GroupAddresses};
use crate::failpoint;
use crate::layer::{
    KeyChanges, LISTENING, LayerError, NUMBERING, PARKING, PossibleLoss, RedisHandle, Script,
    ScriptError,
};
use crate::telemetry::LogLimit;

/// Sources in one read.
const MAX_SOURCES: usize = 256;

/// How logs refer to reading the sources in general.
const READING: &str = "reading sources";

/// Shortest time between two gaps for all groups of a source because the groups of an entry could
/// not be read: malformed input must not cause a flood of gaps.
const SHARE_INTERVAL: Duration = Duration::from_secs(10);

/// Time to wait after Redis did not answer, or while the layer does not deliver.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Drains the sources of one instance.
pub(super) struct Drainer {
    /// The layer's server, on which entries are published.
    pub(super) redis: RedisHandle,
    /// Where the sources are, if not there.
    pub(super) remote: Option<RemoteSource>,
    pub(super) changes: KeyChanges,
    pub(super) sources: SourceList,
    pub(super) decoder: EntryDecoder,
    pub(super) addresses: GroupAddresses,
    pub(super) bounds: Bounds,
    /// Forwards events of the ingress stream to Django's consumers.
    pub(super) forward_queue: Option<ForwardQueue>,
    pub(super) scripts: Scripts,
    pub(super) health: Arc<DrainHealth>,
    pub(super) metrics: Arc<SourceMetrics>,
    pub(super) log_limits: LogLimits,
}

pub(super) struct Scripts {
    look: Script,
    drain: Script,
}

/// The limits of log lines, one per kind.
#[derive(Default)]
pub(super) struct LogLimits {
    full: LogLimit,
    malformed: LogLimit,
    left: LogLimit,
    set_aside: LogLimit,
    unreachable: LogLimit,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            look: Script::new(&[NUMBERING, include_str!("scripts/look.lua")]),
            drain: Script::new(&[NUMBERING, LISTENING, PARKING, include_str!("scripts/drain.lua")]),
        }
    }
}

/// Entries of a mailbox in which senders found no room, whatever its capacity.
const FULL: u64 = u32::MAX as u64;

impl Drainer {
    /// The initial state.
    pub(super) fn begin(&self) -> DrainState {
        DrainState::new(self.redis.instance(), self.sources.len(), Instant::now())
    }

    /// Drains until stopped.
    pub(super) async fn run(mut self) {
        let mut state = self.begin();
        while !self.health.is_stopped() {
            self.take_changes(&mut state);
            if !self.redis.is_delivering() || !self.may_take().await {
                sleep(BACK_OFF).await;
                continue;
            }
            state.schedule.share(self.redis.instances());
            let now = Instant::now();
            if state.schedule.is_full_look(now) {
                state.retry_left();
            }
            let due = state.schedule.due(now, self.place().is_tracking());
            if due.is_empty() {
                self.wait(&state).await;
                continue;
            }
            for chunk in due.chunks(MAX_SOURCES) {
                self.look(chunk, &mut state).await;
            }
        }
    }

    /// Whether entries may be taken: the server is there, and what was lost before them is told.
    pub(super) async fn may_take(&self) -> bool {
        let Some(remote) = &self.remote else { return true };
        if let Some(generation) = remote.redis.untold() {
            match self.tell_losses().await {
                Ok(()) => {
                    tracing::warn!(
                        server = remote.redis.place(),
                        "groups are told a possible loss"
                    );
                    remote.redis.told(generation);
                }
                Err(error) => self.failed(&error),
            }
        }
        remote.redis.current().is_some()
    }

    /// Tells the groups of all mailboxes that events may be lost, as if senders had found them
    /// full.
    async fn tell_losses(&self) -> Result<(), ScriptError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let read_ms = remote.moment(&self.redis).await?;
        let mut full = SourceState::default();
        full.looked(FULL, 0, 0);
        let all = (0..self.sources.len()).map(|index| self.sources.at(index));
        let mailboxes = all.filter(|(source, _)| matches!(source, DurableSource::GroupMailbox(_)));
        let told = mailboxes.map(|(source, key)| {
            let (entries, actions) = (&[][..], &[][..]);
            DrainedSource { source, key, state: &full, entries, is_whole: false, actions }
        });
        if self.publish(told, read_ms).await? == Drained::StaleGeneration {
            let stale = "the layer has just changed".to_owned();
            return Err(LayerError::Unreachable(stale).into());
        }
        Ok(())
    }

    pub(super) fn place(&self) -> SourcePlace<'_> {
        SourcePlace { layer: &self.redis, remote: self.remote.as_ref() }
    }

    async fn wait(&mut self, state: &DrainState) {
        if self.sources.len() == 0 {
            self.health.looked();
        }
        tokio::select! {
            () = self.changes.changed() => {}
            () = sleep_until(state.schedule.next().into()) => {}
        }
    }

    fn take_changes(&mut self, state: &mut DrainState) {
        let changes = self.changes.take();
        let now = Instant::now();
        if changes.flushed {
            self.place().check_generation();
        }
        if changes.all {
            state.schedule.wake_all(now);
        }
        for key in &changes.keys {
            if let Some(index) = self.sources.find(key) {
                state.schedule.wake(index, now);
            }
        }
    }

    /// Reads these sources and drains those assigned to this instance.
    pub(super) async fn look(&self, due: &[usize], state: &mut DrainState) {
        let looks = match self.read(due, state).await {
            Ok(looks) => looks,
            Err(error) => {
                self.failed(&error);
                let later = Instant::now() + BACK_OFF;
                due.iter().for_each(|index| state.schedule.put_off(*index, later));
                return;
            }
        };
        failpoint::pass("look-answered");
        self.health.looked();
        self.health.refusals.clear(READING);
        let found = due.iter().zip(looks);
        let batches: Vec<_> =
            found.filter_map(|(index, look)| self.batch(*index, look, state)).collect();
        self.health.waiting.store(state.backlog(), Ordering::Relaxed);
        failpoint::pass("before-commit");
        let decoded: Vec<_> = batches.into_iter().map(|batch| self.decode(batch, state)).collect();
        let chunks = Chunk::share(decoded.into_iter(), |index| self.sources.at(index).0.key_type());
        let outcomes = join_all(chunks.into_iter().map(|chunk| self.drain(chunk, state))).await;
        failpoint::pass("after-commit");
        for outcome in outcomes {
            self.settle(outcome, state);
        }
    }

    async fn read(&self, due: &[usize], state: &mut DrainState) -> Result<Vec<Look>, ScriptError> {
        let server = self.place().looked_at(state).await?;
        let state = &*state;
        let wanted = due.iter().map(|index| {
            let (source, key) = self.sources.at(*index);
            let whole = state.schedule.is_drained_here(*index);
            (source, key, &state.sources[*index], whole)
        });
        let (keys, arguments) = command::look(server, wanted);
        let reply = self.place().ask(&self.scripts.look, keys, arguments).await?;
        let sources = due.iter().map(|index| self.sources.at(*index).0);
        let malformed = || ScriptError::Refused("look.lua gave a malformed answer".to_owned());
        read_look(sources, reply).ok_or_else(malformed)
    }

    /// Records the result of a read. Returns the batch, if this instance drains it.
    fn batch(&self, index: usize, look: Look, state: &mut DrainState) -> Option<EntryBatch> {
        let key = self.sources.at(index).1;
        let (entries, skipped, length, ends) = match look {
            // It stays due, and is read first next time.
            Look::Unreached => return None,
            Look::StaleGeneration => {
                self.place().check_generation();
                state.schedule.put_off(index, Instant::now() + BACK_OFF);
                return None;
            }
            Look::Suspended => {
                state.schedule.put_off(index, Instant::now() + BACK_OFF);
                return None;
            }
            Look::Refused(why) => {
                self.health.refusals.add(key, &why);
                (Vec::new(), 0, 0, 0)
            }
            Look::Read { entries, skipped, length, ends } => {
                if entries.is_empty() {
                    self.health.refusals.clear(key);
                }
                (entries, skipped, length, ends)
            }
        };
        let source = &mut state.sources[index];
        source.looked(length, skipped, entries.len());
        let head = entries.first().map(|entry| entry.id());
        if let Some(head) = head {
            source.suspects.under_way_at_ends(head, ends);
        }
        let decision = state.schedule.looked(index, head, Instant::now());
        if decision == DrainDecision::Leave || source.is_jammed() {
            return None;
        }
        let more = length > (skipped + entries.len()) as u64;
        Some(EntryBatch { index, entries, more })
    }

    fn decode(&self, mut batch: EntryBatch, state: &mut DrainState) -> (EntryBatch, DecodedBatch) {
        let known = &mut state.sources[batch.index];
        let mut share = match self.sources.at(batch.index).0 {
            DurableSource::GroupMailbox(number) => {
                Some(PossibleLoss::Share { number, of: self.bounds.boxes })
            }
            DurableSource::Ingress => Some(PossibleLoss::ALL),
            DurableSource::ConnectionMailbox => None,
        };
        let now = Instant::now();
        let due = known.unattributed_reported.is_none_or(|at| now - at >= SHARE_INTERVAL);
        share = share.filter(|_| due);
        let was_due = share.is_some();
        let decoded = batch.decode(&self.decoder, (&known.seen, &known.suspects), &mut share);
        if was_due && share.is_none() {
            known.unattributed_reported = Some(now);
        }
        (batch, decoded)
    }

    /// Publishes and removes the batches of one script.
    async fn drain(&self, chunk: Chunk, state: &DrainState) -> ChunkOutcome {
        let batches = chunk.batches;
        let drained = batches.iter().map(|(batch, decoded)| {
            let (source, key) = self.sources.at(batch.index);
            let (entries, actions) = (batch.entries.as_slice(), decoded.actions.as_slice());
            let state = &state.sources[batch.index];
            DrainedSource { source, key, state, entries, is_whole: !batch.more, actions }
        });
        let reply = self.publish(drained, state.read_ms).await;
        let mut removed = Vec::new();
        if let Some(remote) = &self.remote
            && let Ok(Drained::Done { replies, .. }) = &reply
        {
            failpoint::pass("before-remove");
            let removing = batches.iter().zip(replies).map(|((batch, _), reply)| {
                remote.remove(self.sources.at(batch.index).1, batch, reply)
            });
            removed = join_all(removing).await;
        }
        removed.resize_with(batches.len(), || Ok(()));
        ChunkOutcome { batches, reply, removed }
    }

    /// Runs the draining script on the layer's server, for sources that were read at `read_ms` if
    /// they are on another.
    async fn publish<'a>(
        &self,
        sources: impl Iterator<Item = DrainedSource<'a>>,
        read_ms: u64,
    ) -> Result<Drained, ScriptError> {
        let (redis, addresses, bounds) = (&self.redis, &self.addresses, &self.bounds);
        let remote = self.remote.as_ref().map(|remote| (remote, read_ms));
        let (keys, arguments) = DrainCommand { redis, addresses, bounds, remote }.build(sources);
        let reply = self.redis.run(&self.scripts.drain, keys, arguments).await;
        if let Some(remote) = &self.remote
            && let Ok(Drained::Done { now_ms, .. }) = &reply
        {
            remote.set_layer_time(*now_ms);
        }
        reply
    }

    /// Records the outcome of a script.
    fn settle(&self, outcome: ChunkOutcome, state: &mut DrainState) {
        let ChunkOutcome { batches, reply, removed } = outcome;
        let replies = match reply {
            Ok(Drained::Done { replies, .. }) => replies,
            Ok(Drained::StaleGeneration) => {
                // The next heartbeat determines the current one.
                self.redis.generation_changed();
                Vec::new()
            }
            Err(error) => {
                self.failed(&error);
                Vec::new()
            }
        };
        let mut replies = replies.into_iter();
        for ((batch, decoded), removed) in batches.iter().zip(removed) {
            match replies.next() {
                Some(reply) => self.settle_batch(batch, decoded, reply, removed, state),
                None => state.schedule.again(batch.index, Instant::now() + BACK_OFF),
            }
        }
    }

    /// Records the outcome of a batch.
    fn settle_batch(
        &self,
        batch: &EntryBatch,
        decoded: &DecodedBatch,
        reply: Result<DrainReply, NotDrained>,
        removed: Result<(), ScriptError>,
        state: &mut DrainState,
    ) {
        let (source, key) = self.sources.at(batch.index);
        let reply = match reply {
            Ok(reply) => reply,
            Err(NotDrained::Refused(why)) => return self.health.refusals.add(key, &why),
            Err(NotDrained::StaleRead) => {
                return state.schedule.again(batch.index, Instant::now());
            }
        };
        self.health.refusals.clear(key);
        if let Some(queue) = &self.forward_queue {
            let events = decoded.for_consumers(source, &reply);
            events.for_each(|(group, event)| queue.offer(group, event));
        }
        let known = &mut state.sources[batch.index];
        known.drained(batch, &reply);
        known.suspects.drained(&batch.entries, &decoded.actions, &reply, self.bounds.patience);
        if batch.more {
            state.schedule.again(batch.index, Instant::now());
        }
        if let Err(error) = removed {
            // Published, and found again: only removed then.
            self.failed(&error);
            state.schedule.put_off(batch.index, Instant::now() + BACK_OFF);
        }
        reply.fates.iter().for_each(|fate| self.metrics.entries.of(*fate).increment(1));
        self.metrics.duplicates.increment(decoded.duplicates);
        self.metrics.unreadable.increment(decoded.undecodable);
        self.metrics.set_aside.increment(decoded.set_aside);
        if reply.full {
            self.metrics.boxes_full.increment(1);
        }
        self.log(key, &reply, decoded);
    }

    fn log(&self, key: &str, reply: &DrainReply, decoded: &DecodedBatch) {
        if reply.full && self.log_limits.full.allows() {
            let capacity = self.bounds.capacity;
            tracing::warn!(
                mailbox = key,
                capacity,
                "mailbox full: senders may have dropped messages; raise the capacity of \
                 \"groupcast.*\" by channel_capacity in Django's CHANNEL_LAYERS"
            );
        }
        if let Some(error) = &decoded.error
            && self.log_limits.malformed.allows()
        {
            let UndecodableReport { error, targets } = error;
            tracing::warn!(source = key, error, ?targets, "malformed entry discarded");
        }
        if decoded.set_aside > 0 && self.log_limits.set_aside.allows() {
            let poison = self.redis.names().poison();
            tracing::error!(source = key, poison, "entry set aside; its groups got a gap");
        }
        if !reply.cause.is_empty() && self.log_limits.left.allows() {
            tracing::error!(source = key, error = reply.cause, "entries left in their source");
        }
    }

    fn failed(&self, error: &ScriptError) {
        match error {
            ScriptError::Refused(why) => self.health.refusals.add(READING, why),
            ScriptError::Away(error) if self.log_limits.unreachable.allows() => {
                tracing::debug!(%error, "sources are not drained: Redis cannot be reached");
            }
            ScriptError::Away(_) => {}
        }
    }
}
