//! Drains sources: reads without removing, then lets one script remove and send, entry by entry.
//!
//! Removing is the fence. The script sends only what is still there, in the order in which it stands
//! there, and nothing comes between the two: an instance that was stopped for a while finds its
//! entries gone, and one that ends before or after the script loses nothing and repeats nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::sleep_until;

use super::batch::{Batch, DrainReply, Fate, Outcome, look_arguments, read_look};
use super::consumers::Consumers;
use super::failpoint;
use super::health::DrainHealth;
use super::parts::Addresses;
use super::schedule::{DrainDecision, DrainSchedule};
use super::seen::Seen;
use super::source::{DurableSource, EntryDecoder, Sources};
use crate::event::{Event, Target};
use crate::group::GroupName;
use crate::layer::{
    KeyChanges, NUMBERING, PossibleLoss, RedisHandle, Script, ScriptError, overflow_field,
};
use crate::telemetry::ChannelsMetrics;

/// Sources in one look.
const MAX_SOURCES: usize = 256;

/// Looking and draining as such, as logs call it.
const LOOKING: &str = "draining sources";

/// Channels of a source that may be stuck before the whole source is.
const MAX_STUCK: usize = 1024;

/// Bytes given to one draining script, as far as entries are smaller than that: an entry for many
/// connections is written once for each.
const MAX_GIVEN: usize = 4 * 1024 * 1024;

/// Between two log lines about the same kind of trouble.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Wait after Redis did not answer, or while the layer does not carry what it is given.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What drains the sources of one instance.
pub(super) struct Drainer {
    pub(super) link: RedisHandle,
    pub(super) ear: KeyChanges,
    pub(super) sources: Sources,
    pub(super) reading: Arc<EntryDecoder>,
    pub(super) addresses: Addresses,
    pub(super) bounds: Bounds,
    /// Who else is sent what enters by the stream.
    pub(super) consumers: Option<Consumers>,
    pub(super) health: Arc<DrainHealth>,
    pub(super) metrics: Arc<ChannelsMetrics>,
}

/// What may wait, and where senders are turned away.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Entries at which senders turn away from a mailbox.
    pub(super) capacity: u32,
    /// Publications of one group that may wait for a listener.
    pub(super) waiting: u32,
    /// How long they may.
    pub(super) wait: Duration,
    /// How many mailboxes for groups there are.
    pub(super) boxes: u16,
}

struct Scripts {
    look: Script,
    drain: Script,
}

/// What is remembered of one source.
#[derive(Default)]
pub(super) struct SourceState {
    pub(super) seen: Seen,
    /// Entries in it when it was last looked at.
    length: u64,
    /// Entries at its head that stay where they are; the next look begins behind them.
    pub(super) kept: usize,
    /// The last of them.
    pub(super) after: Option<Bytes>,
    /// Their channels: what is for one of these stays as well, or it would overtake them.
    stuck: HashSet<String>,
}

impl SourceState {
    /// The next look begins with the first entry.
    fn begin_anew(&mut self) {
        (self.kept, self.after) = (0, None);
        self.stuck.clear();
    }

    /// Whether so much stays that the rest is not looked at either, until all of it is tried again.
    fn is_jammed(&self) -> bool {
        self.stuck.len() > MAX_STUCK
    }
}

/// What changes while draining.
pub(super) struct State {
    pub(super) turns: DrainSchedule,
    places: Vec<SourceState>,
    scripts: Scripts,
    logged: Logged,
}

/// When each kind of trouble was last logged.
#[derive(Default)]
struct Logged {
    full: Option<Instant>,
    unreadable: Option<Instant>,
    kept: Option<Instant>,
    away: Option<Instant>,
}

impl State {
    /// What was kept is tried again now and then.
    pub(super) fn begin_anew(&mut self) {
        self.places.iter_mut().for_each(SourceState::begin_anew);
    }
}

impl Drainer {
    /// Nothing has been looked at yet.
    pub(super) fn begin(&self) -> State {
        let now = Instant::now();
        State {
            turns: DrainSchedule::new(self.link.instance(), self.sources.len(), now),
            places: (0..self.sources.len()).map(|_| SourceState::default()).collect(),
            scripts: Scripts {
                look: Script::new(&[include_str!("scripts/look.lua")]),
                drain: Script::new(&[
                    NUMBERING,
                    include_str!("scripts/waiting.lua"),
                    include_str!("scripts/drain.lua"),
                ]),
            },
            logged: Logged::default(),
        }
    }

    /// Drains for as long as the bridge lives.
    pub(super) async fn run(mut self) {
        let mut state = self.begin();
        loop {
            if self.health.rests() {
                return;
            }
            self.take_wakes(&mut state);
            if !self.link.is_delivering() {
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
            state.turns.share(self.link.instances());
            let now = Instant::now();
            if state.turns.is_slow_look(now) {
                state.begin_anew();
            }
            let due = state.turns.due(now, self.link.is_tracking());
            if due.is_empty() {
                if self.sources.len() == 0 {
                    self.health.looked();
                }
                let next = state.turns.next();
                tokio::select! {
                    () = self.ear.changed() => {}
                    () = sleep_until(next.into()) => {}
                }
                continue;
            }
            for chunk in due.chunks(MAX_SOURCES) {
                self.look(chunk, &mut state).await;
            }
        }
    }

    fn take_wakes(&mut self, state: &mut State) {
        let wakes = self.ear.take();
        let now = Instant::now();
        if wakes.all {
            state.turns.wake_all(now);
        }
        for key in &wakes.keys {
            if let Some(index) = self.sources.find(key) {
                state.turns.wake(index, now);
            }
        }
    }

    /// Looks at these sources and drains those whose turn it is.
    pub(super) async fn look(&self, due: &[usize], state: &mut State) {
        let keys = due.iter().map(|index| self.sources.at(*index).1.to_owned()).collect();
        let wanted = due.iter().map(|index| {
            let whole = state.turns.is_drained_here(*index);
            (self.sources.at(*index).0, &state.places[*index], whole)
        });
        let arguments = look_arguments(wanted);
        let found = match self.link.run(&state.scripts.look, keys, arguments).await {
            Ok(found) => read_look(due, found),
            Err(error) => {
                self.note_error(&error, state);
                let later = Instant::now() + BACK_OFF;
                due.iter().for_each(|index| state.turns.put_off(*index, later));
                return;
            }
        };
        failpoint::pass("look-answered");
        let now = Instant::now();
        self.health.looked();
        self.health.mended(LOOKING);
        let mut batches = Vec::new();
        for batch in found {
            if !batch.reached {
                // It stays due, and comes before those that were.
                continue;
            }
            let key = self.sources.at(batch.index).1;
            match &batch.refused {
                Some(why) => self.health.refused(key, why),
                None if batch.found.is_empty() => self.health.mended(key),
                None => {}
            }
            let place = &mut state.places[batch.index];
            place.length = batch.length;
            if batch.from < place.kept && !batch.found.is_empty() {
                place.begin_anew();
            }
            let head = batch.found.first().map(|found| found.id());
            match state.turns.looked(batch.index, head, now) {
                DrainDecision::Drain if !place.is_jammed() => batches.push(batch),
                DrainDecision::Drain | DrainDecision::Leave => {}
            }
        }
        let waiting: u64 = state.places.iter().map(|place| place.length).sum();
        self.metrics.waiting.set(waiting as f64);
        failpoint::pass("before-commit");
        let outcomes = join_all(batches.into_iter().map(|batch| self.drain(batch, state))).await;
        failpoint::pass("after-commit");
        for outcome in outcomes {
            self.settle(outcome, state);
        }
    }

    /// Removes and sends one batch.
    async fn drain(&self, mut batch: Batch, state: &State) -> Outcome {
        let (source, key) = self.sources.at(batch.index);
        let place = &state.places[batch.index];
        let now = Instant::now();
        let mut arguments = vec![
            self.link.generation(),
            Bytes::from_static(source.kind().as_bytes()),
            number(match source {
                DurableSource::Ingress => 0,
                DurableSource::Groups(_) | DurableSource::Connections => {
                    u64::from(self.bounds.capacity)
                }
            }),
            Bytes::from(self.link.names().control().to_owned()),
            self.link.possible_loss(&self.turned_away(source)),
            self.link.random_epoch(),
            number(u64::from(self.bounds.waiting)),
            number(self.bounds.wait.as_millis() as u64),
            doubt_field(source),
            number(place.stuck.len() as u64),
        ];
        arguments.extend(place.stuck.iter().map(|channel| Bytes::from(channel.clone())));
        let mut unreadable = None;
        let (mut duplicates, mut broken) = (0, 0);
        let (mut given, mut taken) = (0, 0);
        let mut entered = Vec::new();
        for found in &batch.found {
            if given > MAX_GIVEN {
                break;
            }
            let id = found.id();
            let publications = if place.seen.holds(id) {
                duplicates += 1;
                Vec::new()
            } else {
                self.reading.read(source, found, now).unwrap_or_else(|error| {
                    broken += 1;
                    unreadable = Some(error.to_string());
                    Vec::new()
                })
            };
            arguments.push(found.entry.clone());
            arguments.push(number(publications.len() as u64));
            for publication in &publications {
                self.addresses.write(&self.link, publication, &mut arguments);
                given += publication.event.json().len();
                if source == DurableSource::Ingress
                    && self.consumers.is_some()
                    && let Target::Group(group) = &publication.target
                {
                    entered.push((taken, group.clone(), publication.event.clone()));
                }
            }
            taken += 1;
        }
        batch.more |= taken < batch.found.len();
        batch.found.truncate(taken);
        let keys = vec![self.link.names().generation(), key.to_owned()];
        let answer = self.link.run(&state.scripts.drain, keys, arguments).await;
        Outcome { answer, batch, entered, duplicates, broken, unreadable }
    }

    /// Whom a mailbox that was full may have lost something of.
    fn turned_away(&self, source: DurableSource) -> PossibleLoss {
        match source {
            DurableSource::Groups(box_number) => {
                PossibleLoss::Share { number: box_number, of: self.bounds.boxes }
            }
            DurableSource::Connections | DurableSource::Ingress => PossibleLoss::Groups(Vec::new()),
        }
    }

    /// Takes note of how a batch ended.
    fn settle(&self, outcome: Outcome, state: &mut State) {
        let index = outcome.batch.index;
        let key = self.sources.at(index).1;
        let now = Instant::now();
        let drained = match outcome.answer {
            Ok(drained) => drained,
            Err(error) => {
                self.note_error(&error, state);
                return state.turns.again(index, now + BACK_OFF);
            }
        };
        if let Some(why) = &drained.refused {
            return self.health.refused(key, why);
        }
        if drained.fates.is_empty() {
            // Another Redis than the one known: the next beat will know it.
            self.link.generation_changed();
            return state.turns.again(index, now + BACK_OFF);
        }
        self.health.mended(key);
        self.pass_on(&outcome.entered, &drained.fates);
        let place = &mut state.places[index];
        for (found, fate) in outcome.batch.found.iter().zip(&drained.fates) {
            self.metrics.entries.of(*fate).increment(1);
            match fate {
                Fate::LeftInSource => {
                    place.kept += 1;
                    place.after = Some(found.entry.clone());
                }
                Fate::TakenElsewhere => {}
                _ => place.seen.add(found.id()),
            }
        }
        place.stuck.extend(drained.stuck.iter().cloned());
        self.metrics.duplicates.increment(outcome.duplicates);
        self.metrics.unreadable.increment(outcome.broken);
        if drained.full {
            self.metrics.boxes_full.increment(1);
        }
        if outcome.batch.more {
            state.turns.again(index, now);
        }
        self.tell(key, &drained, outcome.unreadable.as_deref(), state);
    }

    /// Offers Django's consumers what was taken from the stream, whether or not anybody listens here.
    fn pass_on(&self, entered: &[(usize, GroupName, Event)], fates: &[Fate]) {
        let Some(consumers) = &self.consumers else { return };
        for (place, group, event) in entered {
            if let Some(Fate::Sent | Fate::Parked | Fate::NoListener) = fates.get(*place) {
                consumers.offer(group, event);
            }
        }
    }

    /// Says what went wrong, not too often.
    fn tell(&self, key: &str, drained: &DrainReply, unreadable: Option<&str>, state: &mut State) {
        let now = Instant::now();
        if drained.full && is_due(&mut state.logged.full, now) {
            let capacity = self.bounds.capacity;
            tracing::warn!(
                mailbox = key,
                capacity,
                "mailbox found full: senders may have been turned away; give \"groupcast.*\" more \
                 room by channel_capacity in Django's CHANNEL_LAYERS"
            );
        }
        if let Some(error) = unreadable
            && is_due(&mut state.logged.unreadable, now)
        {
            tracing::warn!(source = key, error, "an entry says nothing and was removed");
        }
        if !drained.cause.is_empty() && is_due(&mut state.logged.kept, now) {
            tracing::error!(source = key, error = drained.cause, "entries stay where they are");
        }
    }

    fn note_error(&self, error: &ScriptError, state: &mut State) {
        match error {
            ScriptError::Refused(why) => self.health.refused(LOOKING, why),
            ScriptError::Away(error) if is_due(&mut state.logged.away, Instant::now()) => {
                tracing::debug!(%error, "sources wait for Redis");
            }
            ScriptError::Away(_) => {}
        }
    }
}

/// Whether the last line of this kind is long enough ago; it is written now if so.
fn is_due(logged: &mut Option<Instant>, now: Instant) -> bool {
    let due = logged.is_none_or(|at| now.duration_since(at) >= LOG_EVERY);
    if due {
        *logged = Some(now);
    }
    due
}

fn number(number: u64) -> Bytes {
    Bytes::from(number.to_string())
}

/// Where is counted that senders may have been turned away: who is not there to be told finds the
/// group's history at an end on coming back.
fn doubt_field(source: DurableSource) -> Bytes {
    match source {
        DurableSource::Groups(number) => overflow_field(number).into(),
        DurableSource::Connections | DurableSource::Ingress => Bytes::new(),
    }
}
