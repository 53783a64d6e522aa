//! One thread that owns sockets. A turn of its loop: poll, take commands, fan out, write each
//! socket once.
//!
//! Everything here is synchronous and owned by the thread, so there is no lock between a
//! publication and a socket, and no order of events to reason about but the order of this file.

mod admission;
mod closed_users;
mod drain;
mod ending;
mod inspect;
mod outbox_share;
mod reports;
mod timers;
mod wheel;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

pub(super) use closed_users::ClosedUsers;
#[cfg(test)]
pub(super) use closed_users::{REMEMBERED, UserEnd};

use super::command::{OrderedCommand, PostedAt, PromptCommand};
use super::context::{Clock, Context};
use super::deliver::{Delivery, finish_turn, positions};
use super::inbox::{InboxReceiver, ShardInbox, ShardWaker};
use super::join::Memberships;
use super::metrics::HubMetrics;
use super::receive::{read, resume_reading};
use super::request::{Answer, NewConnection};
use super::store::{ConnectionKey, Connections, Groups, Joins, RequestQueue, Turn};
use super::{Registry, Settings, ShardConfig};
use crate::event::InstanceId;
use crate::supervisor::Progress;
use crate::telemetry::ShardMetrics;
use admission::admit;
use drain::Draining;
use inspect::{Inspected, inspect};
use outbox_share::OutboxShare;
use timers::Timers;

/// The token of the waker; connections use their key.
pub(super) const WAKER: Token = Token(usize::MAX);

/// Longest sleep: the timers run once a second.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Sleep while a request waits for room, or while connections are being drained.
const SHORT_SLEEP: Duration = Duration::from_millis(5);

/// Sockets written before reads and timers run again: about a millisecond of writing.
const SLICE: usize = 256;

/// Most commands of each lane taken in one turn.
const MAX_COMMANDS: usize = 1024;

/// Bytes of one read; a largest message and its header, so that most messages are never copied.
const SCRATCH: usize = 16 * 1024 + 14;

/// Borrows a shard's stores separately from its other fields.
macro_rules! memberships {
    ($shard:ident) => {
        Memberships {
            context: &$shard.context,
            connections: &mut $shard.connections,
            groups: &mut $shard.groups,
            joins: &mut $shard.joins,
            turn: &mut $shard.turn,
            requests: &mut $shard.requests,
        }
    };
}

/// One shard. The fields describe what it owns.
pub(super) struct Shard {
    pub(super) context: Context,
    registry: Arc<Registry>,
    poll: Poll,
    inbox: InboxReceiver,
    waker: Arc<ShardWaker>,
    load: Arc<AtomicUsize>,
    pub(super) connections: Connections,
    pub(super) groups: Groups,
    pub(super) joins: Joins,
    turn: Turn,
    timers: Timers,
    pub(super) requests: RequestQueue,
    closed_users: ClosedUsers,
    /// Input of the socket being read. Incomplete messages move to the connection.
    scratch: Vec<u8>,
    outbox_share: OutboxShare,
    draining: Option<Draining>,
    gauges: ShardMetrics,
}

/// The handle of a shard.
pub(super) struct ShardHandle {
    pub(super) inbox: ShardInbox,
    /// Connections of the shard, including those being handed over.
    pub(super) load: Arc<AtomicUsize>,
}

/// Builds a shard, without its thread, and its handle.
pub(super) fn build(
    index: usize,
    instance: InstanceId,
    settings: &Settings,
    config: Arc<ShardConfig>,
    registry: Arc<Registry>,
    requests: RequestQueue,
) -> io::Result<(ShardHandle, Shard)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKER)?;
    let (inbox, receiver) = ShardInbox::new(settings.inbox, waker);
    let load = Arc::new(AtomicUsize::new(0));
    let gauges = config.metrics.shard(index);
    let by_label = HubMetrics::new(&config.metrics);
    let shard = Shard {
        groups: Groups::counted_in(Arc::clone(&config.member_counts)),
        context: Context { index, instance, config, clock: Clock::start(), by_label },
        outbox_share: OutboxShare::new(settings.total_outbox_bytes),
        registry,
        poll,
        inbox: receiver,
        waker: inbox.waker(),
        load: Arc::clone(&load),
        connections: Connections::default(),
        joins: Joins::default(),
        turn: Turn::default(),
        timers: Timers::new(),
        requests,
        closed_users: ClosedUsers::default(),
        scratch: vec![0; SCRATCH],
        draining: None,
        gauges,
    };
    Ok((ShardHandle { inbox, load }, shard))
}

impl Shard {
    /// Runs until drained, or until the other end of the inbox was dropped.
    pub(super) fn run(mut self, progress: &Progress) {
        let mut events = Events::with_capacity(1024);
        loop {
            self.sleep(&mut events);
            progress.begin();
            let now = Instant::now();
            self.follow_wall_clock(now);
            self.work(&mut events, now);
            progress.finish();
            if self.is_done() {
                return;
            }
        }
    }

    /// Reads the wall clock once a second: tokens expire by it.
    fn follow_wall_clock(&mut self, now: Instant) {
        let clock = &mut self.context.clock;
        if !clock.is_wall_due(now) {
            return;
        }
        let jumped = clock.follow_wall(now, crate::clock::unix_seconds());
        // Every shard sees it; one line is enough.
        if let Some(seconds) = jumped.filter(|_| self.context.index == 0) {
            tracing::warn!(
                seconds,
                "wall clock jumped; tokens that expire by it have a minute to be renewed"
            );
        }
    }

    /// A turn without its sleep. Time is an argument, so that tests need not wait for it.
    pub(super) fn work(&mut self, events: &mut Events, now: Instant) {
        self.context.clock.advance(now);
        self.take_events(events);
        self.take_commands();
        self.write_batch(events);
        self.run_timers();
        self.requests.send(&mut self.connections, &self.groups);
        self.resume_reading();
        self.close_drained();
        self.keep_outbox_share();
        // Answers given since the batch must not wait for the next turn, up to a second later.
        self.write_answers();
        self.account();
        self.inbox.work.end_turn(self.context.clock.now());
    }

    pub(super) fn is_done(&self) -> bool {
        match &self.draining {
            Some(draining) => {
                let is_empty = self.connections.is_empty() && self.inbox.is_empty();
                is_empty || draining.is_over(self.context.clock.now())
            }
            None => self.inbox.is_closed() && self.inbox.is_empty(),
        }
    }

    #[cfg(test)]
    pub(super) fn commands_waiting(&self) -> usize {
        self.inbox.len()
    }

    /// Polls, sleeping only if the inbox is empty after the waker was armed.
    fn sleep(&mut self, events: &mut Events) {
        self.waker.park();
        let longest = self.longest_sleep();
        self.poll_sockets(events, longest);
        self.waker.unpark();
    }

    /// How long nothing needs to be done unless a socket or the waker reports something.
    pub(super) fn longest_sleep(&self) -> Duration {
        if !self.inbox.is_empty() || self.connections.has_input() {
            Duration::ZERO
        } else if self.draining.is_some() || self.requests.is_waiting() {
            SHORT_SLEEP
        } else {
            LONGEST_SLEEP
        }
    }

    pub(super) fn poll_sockets(&mut self, events: &mut Events, timeout: Duration) {
        if let Err(error) = self.poll.poll(events, Some(timeout)) {
            // Interruptions by signals are expected. Other errors are logged and retried.
            if error.kind() != io::ErrorKind::Interrupted {
                tracing::error!(%error, shard = self.context.index, "polling failed");
            }
            events.clear();
        }
    }

    pub(super) fn take_events(&mut self, events: &Events) {
        for event in events {
            if event.token() == WAKER {
                continue;
            }
            let key = event.token().0 as ConnectionKey;
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if event.is_writable() {
                connection.socket.note_writable();
                if connection.socket.has_waiting() {
                    self.connections.write_later(key);
                }
            }
            if event.is_readable() || event.is_read_closed() {
                self.read(key, event.is_read_closed());
            }
        }
    }

    fn read(&mut self, key: ConnectionKey, to_the_end: bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        read(&mut self.memberships(), key, to_the_end, &mut scratch);
        self.scratch = scratch;
        self.end_step();
    }

    pub(super) fn take_commands(&mut self) {
        for _ in 0..MAX_COMMANDS {
            let Ok(command) = self.inbox.prompt.try_recv() else { break };
            self.handle_prompt(command);
            self.end_step();
        }
        for _ in 0..MAX_COMMANDS {
            if self.turn.is_full() {
                return;
            }
            let Some(command) = self.inbox.next_ordered() else { return };
            self.handle_ordered(command);
            self.end_step();
        }
    }

    fn handle_ordered(&mut self, command: OrderedCommand) {
        match command {
            OrderedCommand::Deliver(publication, posted) => {
                self.delivery().fan_out(publication, posted);
            }
            OrderedCommand::DeliverToMember(member, publication) => {
                self.delivery().deliver_to_member(member, publication);
            }
            OrderedCommand::Control(control, stamp, posted) => {
                self.memberships().control(control, stamp, posted);
            }
            OrderedCommand::CloseAll(disconnect, posted) => {
                self.memberships().close_everybody(disconnect, posted);
            }
            OrderedCommand::Answer(answer) => self.answer(answer),
            OrderedCommand::PossibleGap(gap) => self.delivery().notify_possible_gap(&gap),
            OrderedCommand::Positions(groups, reply) => {
                // The caller may have gone.
                let _ = reply.send(positions(&self.groups, groups.as_deref()));
            }
        }
    }

    fn handle_prompt(&mut self, command: PromptCommand) {
        match command {
            PromptCommand::Admit(new, posted) => self.admit(*new, posted),
            PromptCommand::Joined(joined) => self.memberships().joined(*joined),
            PromptCommand::Answer(answer) => self.answer(answer),
            PromptCommand::Confirmed { to, outcome } => {
                self.memberships().confirmed(to, outcome);
            }
            PromptCommand::Inspect(inspection) => {
                let mut inspected = Inspected {
                    context: &self.context,
                    connections: &self.connections,
                    groups: &mut self.groups,
                    closed_users: &self.closed_users,
                };
                inspect(&mut inspected, inspection);
            }
            PromptCommand::Drain { rate, window, grace } => {
                let now = self.context.clock.now();
                let begin = || Draining::begin(&self.connections, now, rate, window, grace);
                self.draining.get_or_insert_with(begin);
            }
        }
    }

    fn admit(&mut self, new: NewConnection, posted: PostedAt) {
        let sub = Arc::clone(&new.identity.sub);
        let mut memberships = memberships!(self);
        let is_draining = self.draining.is_some();
        if !admit(&mut memberships, self.poll.registry(), is_draining, new, posted) {
            count_out(&self.registry, &self.load, &sub);
        }
    }

    /// Handles the answer to a call or send.
    fn answer(&mut self, answer: Answer) {
        let Some(key) = self.connections.find(answer.to) else { return };
        self.connections.request_answered(key, answer.kind);
        if let Some(frame) = answer.frame {
            self.connections.answer(key, frame, &self.context);
        }
    }

    /// Writes every touched socket once, with reads and timers in between.
    fn write_batch(&mut self, events: &mut Events) {
        let touched = self.turn.take_touched();
        for (written, key) in touched.iter().enumerate() {
            if written % SLICE == SLICE - 1 {
                self.poll_sockets(events, Duration::ZERO);
                self.take_events(events);
            }
            self.delivery().write_out(*key);
            self.end_step();
        }
        // Reads in between may have queued answers, but linked nothing.
        self.turn.give_touched(touched);
        self.write_answers();
        finish_turn(&mut self.turn, self.context.metrics());
    }

    /// Writes connections that have something queued but no links. Writing may close one, whose
    /// close frame is then written, too.
    fn write_answers(&mut self) {
        while let Some(key) = self.connections.next_to_write() {
            self.delivery().write_out(key);
            self.end_step();
        }
    }

    fn run_timers(&mut self) {
        self.timers.run(&self.context, &mut self.connections, &mut self.requests);
        self.groups.end_unread(self.context.clock.second());
        self.end_step();
    }

    /// Resumes reading connections that had to wait.
    fn resume_reading(&mut self) {
        let mut scratch = std::mem::take(&mut self.scratch);
        for waiting in self.connections.take_to_read() {
            resume_reading(&mut self.memberships(), waiting, &mut scratch);
            self.end_step();
        }
        self.scratch = scratch;
    }

    fn close_drained(&mut self) {
        if let Some(draining) = &mut self.draining {
            draining.close_due(&mut self.connections, &self.context);
            self.end_step();
        }
    }

    /// Closes the slowest connections if the outboxes of the process exceed their limit.
    fn keep_outbox_share(&mut self) {
        self.outbox_share.keep(&self.registry, &mut self.connections, &self.context);
        self.end_step();
    }

    /// Removes what ended during a step, so that the next step finds consistent stores.
    fn end_step(&mut self) {
        if !self.connections.has_ended() {
            return;
        }
        let closed_users = &mut self.closed_users;
        ending::end_all(&mut memberships!(self), closed_users, |context, connection| {
            context.by_label.connections.of(connection.protocol()).decrement(1.0);
            count_out(&self.registry, &self.load, &connection.identity.sub);
        });
    }

    /// Adds the turn's counts to the metrics.
    fn account(&mut self) {
        self.gauges.inbox.set(self.inbox.len() as f64);
        let tally = std::mem::take(&mut self.turn.tally);
        let metrics = self.context.metrics();
        metrics.requests_waiting.set(self.requests.len() as f64);
        if tally.writes > 0 {
            metrics.deliveries.increment(tally.deliveries);
            metrics.writes.increment(tally.writes);
            metrics.bytes_written.increment(tally.bytes);
        }
    }

    fn delivery(&mut self) -> Delivery<'_> {
        Delivery {
            context: &self.context,
            connections: &mut self.connections,
            groups: &mut self.groups,
            joins: &mut self.joins,
            turn: &mut self.turn,
        }
    }

    fn memberships(&mut self) -> Memberships<'_> {
        memberships!(self)
    }
}

/// Counts a connection out of the shard's load and the user's connections.
fn count_out(registry: &Registry, load: &AtomicUsize, sub: &Arc<str>) {
    load.fetch_sub(1, Ordering::Relaxed);
    registry.leave(sub);
}
