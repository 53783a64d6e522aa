//! Drains sources: reads without removing, then lets one script publish and remove, entry by entry.
//!
//! Removal is the fence. The script publishes only entries that are still there, in order, and
//! removes them in the same step. An instance that was stopped for a while finds its entries
//! removed, and one that ends before or after the script loses and repeats nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{sleep, sleep_until};

use super::batch::{BatchOutcome, DecodedBatch, EntryBatch, UndecodableReport};
use super::bounds::Bounds;
use super::command::{self, DrainCommand};
use super::decoder::EntryDecoder;
use super::health::DrainHealth;
use super::metrics::SourceMetrics;
use super::place::SourcePlace;
use super::remote::RemoteSource;
use super::reply::{DrainReply, Look, NotDrained, read_look};
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
        let (redis, addresses, bounds) = (&self.redis, &self.addresses, &self.bounds);
        let command = DrainCommand { redis, addresses, bounds, remote: Some((remote, read_ms)) };
        let all = (0..self.sources.len()).map(|index| self.sources.at(index));
        let mailboxes = all.filter(|(source, _)| matches!(source, DurableSource::GroupMailbox(_)));
        let told = mailboxes.map(|(source, key)| {
            let nothing = (&[][..], false);
            let (keys, arguments) =
                command.build(source, key, &full, nothing, &DecodedBatch::default());
            self.publish(keys, arguments)
        });
        for outcome in join_all(told).await {
            if outcome?.is_err() {
                let stale = "the layer has just changed".to_owned();
                return Err(LayerError::Unreachable(stale).into());
            }
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
        let draining =
            decoded.into_iter().map(|(batch, decoded)| self.drain(batch, decoded, state));
        let outcomes = join_all(draining).await;
        failpoint::pass("after-commit");
        for outcome in outcomes {
            self.settle(&outcome, state);
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

    /// Publishes and removes one batch.
    async fn drain(
        &self,
        batch: EntryBatch,
        decoded: DecodedBatch,
        state: &DrainState,
    ) -> BatchOutcome {
        let (source, key) = self.sources.at(batch.index);
        let known = &state.sources[batch.index];
        let (redis, addresses, bounds) = (&self.redis, &self.addresses, &self.bounds);
        let remote = self.remote.as_ref().map(|remote| (remote, state.read_ms));
        let command = DrainCommand { redis, addresses, bounds, remote };
        let entries = (batch.entries.as_slice(), !batch.more);
        let (keys, arguments) = command.build(source, key, known, entries, &decoded);
        let reply = self.publish(keys, arguments).await;
        let mut removed = Ok(());
        if let Some(remote) = &self.remote
            && let Ok(Ok(reply)) = &reply
        {
            failpoint::pass("before-remove");
            remote.layer_said(reply.now_ms);
            removed = remote.remove(key, &batch, reply).await;
        }
        BatchOutcome { batch, decoded, reply, removed }
    }

    /// Runs the draining script on the layer's server.
    async fn publish(
        &self,
        keys: Vec<String>,
        arguments: Vec<Bytes>,
    ) -> Result<Result<DrainReply, NotDrained>, ScriptError> {
        self.redis.run(&self.scripts.drain, keys, arguments).await
    }

    /// Records the outcome of a batch.
    fn settle(&self, outcome: &BatchOutcome, state: &mut DrainState) {
        let BatchOutcome { batch, decoded, reply, removed } = outcome;
        let (source, key) = self.sources.at(batch.index);
        let retry = Instant::now() + BACK_OFF;
        let reply = match reply {
            Ok(Ok(reply)) => reply,
            Ok(Err(NotDrained::Refused(why))) => return self.health.refusals.add(key, why),
            Ok(Err(NotDrained::StaleGeneration)) => {
                // The next heartbeat determines the current one.
                self.redis.generation_changed();
                return state.schedule.again(batch.index, retry);
            }
            Ok(Err(NotDrained::StaleRead(now_ms))) => {
                if let Some(remote) = &self.remote {
                    remote.layer_said(*now_ms);
                }
                return state.schedule.again(batch.index, Instant::now());
            }
            Err(error) => {
                self.failed(error);
                return state.schedule.again(batch.index, retry);
            }
        };
        self.health.refusals.clear(key);
        if let Some(queue) = &self.forward_queue {
            outcome.for_consumers(source).for_each(|(group, event)| queue.offer(group, event));
        }
        let known = &mut state.sources[batch.index];
        known.drained(batch, reply);
        known.suspects.drained(&batch.entries, &decoded.actions, reply, self.bounds.patience);
        if batch.more {
            state.schedule.again(batch.index, Instant::now());
        }
        if let Err(error) = removed {
            // Published, and found again: only removed then.
            self.failed(error);
            state.schedule.put_off(batch.index, retry);
        }
        reply.fates.iter().for_each(|fate| self.metrics.entries.of(*fate).increment(1));
        self.metrics.duplicates.increment(decoded.duplicates);
        self.metrics.unreadable.increment(decoded.undecodable);
        self.metrics.set_aside.increment(decoded.set_aside);
        if reply.full {
            self.metrics.boxes_full.increment(1);
        }
        self.log(key, reply, decoded);
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
