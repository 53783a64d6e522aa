//! One thread that owns sockets: its turn is poll, take commands, fan out, write each socket once.
//!
//! Everything here is synchronous and owned by the thread, so there is no lock between a publication
//! and a socket, and no order of events to reason about but the order of this file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Poll, Token};
use tokio::sync::mpsc::Receiver;

use super::command::Command;
use super::connections::Connections;
use super::inbox::ShardWaker;
use super::join_buffer::JoinBuffer;
use super::look::ClosedUsers;
use super::members::{Groups, SeatKey};
use super::outgoing::Outgoing;
use super::turn::Turn;
use super::wheel::Wheel;
use super::{Registry, ShardConfig};
use crate::event::InstanceId;
use crate::protocol::Disconnect;
use crate::socket::Millis;
use crate::telemetry::ShardMetrics;

/// The token of the doorbell; seats use their key.
pub(super) const DOORBELL: Token = Token(usize::MAX);

/// Longest sleep: the wheel turns once a second.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Sleep while something waits for room elsewhere, or while connections are closed at a rate.
const IMPATIENT: Duration = Duration::from_millis(5);

/// Sockets written before reads and timers get their share again: about a millisecond of writing.
const SLICE: usize = 256;

/// Commands taken in one turn, whatever they are.
const MAX_COMMANDS: usize = 1024;

/// Seconds that a closing connection has to take its close frame and answer it.
pub(super) const CLOSING_SECONDS: u32 = 5;

/// One shard; see the fields for what it owns.
pub(super) struct Shard {
    pub(super) index: usize,
    pub(super) instance: InstanceId,
    pub(super) blueprint: Arc<ShardConfig>,
    pub(super) registry: Arc<Registry>,
    pub(super) poll: Poll,
    pub(super) inbox: Receiver<Command>,
    pub(super) doorbell: Arc<ShardWaker>,
    pub(super) load: Arc<AtomicUsize>,
    pub(super) seats: Connections,
    pub(super) groups: Groups,
    pub(super) holds: JoinBuffer,
    pub(super) turn: Turn,
    pub(super) wheel: Wheel,
    pub(super) outgoing: Outgoing,
    pub(super) closed_users: ClosedUsers,
    /// Inbound bytes of the socket being read; what is incomplete moves to the connection.
    pub(super) scratch: Vec<u8>,
    /// Connections to flush at the end of the turn although they have no links.
    pub(super) answered: Vec<SeatKey>,
    pub(super) clock: Clock,
    pub(super) drain: Option<Drain>,
    pub(super) gauges: ShardMetrics,
    pub(super) tally: Tally,
    /// Connections whose input waits and may be heard.
    pub(super) resumed: Vec<(SeatKey, u64)>,
    /// Scratch of the wheel.
    pub(super) due: Vec<SeatKey>,
}

/// What a turn counted, added to the metrics at its end.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) deliveries: u64,
    pub(super) writes: u64,
    pub(super) bytes: u64,
}

/// The shard's time, read once a turn.
pub(super) struct Clock {
    started: Instant,
    pub(super) now: Instant,
    /// Seconds since 1970 when the shard started, to which monotonic time is added: tokens expire
    /// by the wall clock, but a step of it must not close everybody.
    started_unix: u64,
}

/// Connections being closed at a rate, until none is left.
pub(super) struct Drain {
    pub(super) queue: Vec<SeatKey>,
    pub(super) rate: u32,
    pub(super) began: Instant,
    pub(super) closed: u64,
    pub(super) window: Duration,
    pub(super) deadline: Instant,
}

impl Shard {
    /// Works until drained, or until nobody holds the other end of the inbox.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            self.turn(&mut events);
            if self.is_done() {
                return;
            }
        }
    }

    fn turn(&mut self, events: &mut Events) {
        self.sleep(events);
        self.work(events, Instant::now());
    }

    /// A turn without its sleep. Time is an argument, so that tests need not wait for it.
    pub(super) fn work(&mut self, events: &mut Events, now: Instant) {
        self.clock.now = now;
        self.take_events(events);
        self.take_commands();
        self.write_batch(events);
        self.run_timers();
        self.outgoing.send(&self.groups);
        self.resume_reading();
        self.close_drained();
        // What was said since the batch must not wait for the next turn, which may be a second away.
        self.write_answers();
        self.account();
    }

    pub(super) fn is_done(&self) -> bool {
        match &self.drain {
            Some(drain) => {
                let empty = self.seats.is_empty() && self.inbox.is_empty();
                empty || self.clock.now >= drain.deadline
            }
            None => self.inbox.is_closed() && self.inbox.is_empty(),
        }
    }

    /// Polls, sleeping only if the inbox is empty after the doorbell was armed.
    fn sleep(&mut self, events: &mut Events) {
        self.doorbell.park();
        let nap = self.nap();
        self.poll_sockets(events, nap);
        self.doorbell.unpark();
    }

    /// How long nothing needs to be done unless a socket or the doorbell says so.
    pub(super) fn nap(&self) -> Duration {
        if !self.inbox.is_empty() || !self.resumed.is_empty() {
            Duration::ZERO
        } else if self.drain.is_some() || self.outgoing.is_waiting() {
            IMPATIENT
        } else {
            HEARTBEAT
        }
    }

    pub(super) fn poll_sockets(&mut self, events: &mut Events, timeout: Duration) {
        if let Err(error) = self.poll.poll(events, Some(timeout)) {
            // A signal is no event; anything else is a fault of the gateway that a retry may outlive.
            if error.kind() != std::io::ErrorKind::Interrupted {
                tracing::error!(%error, shard = self.index, "polling failed");
            }
            events.clear();
        }
    }

    pub(super) fn take_events(&mut self, events: &Events) {
        for event in events {
            if event.token() == DOORBELL {
                continue;
            }
            let key = event.token().0 as SeatKey;
            let Some(seat) = self.seats.get_mut(key) else { continue };
            if event.is_writable() {
                seat.connection.writable = true;
                if seat.connection.has_waiting() {
                    self.answered.push(key);
                }
            }
            if event.is_readable() || event.is_read_closed() {
                self.read(key, event.is_read_closed());
            }
        }
    }

    pub(super) fn take_commands(&mut self) {
        for _ in 0..MAX_COMMANDS {
            if self.turn.is_full() {
                return;
            }
            match self.inbox.try_recv() {
                Ok(command) => self.handle_command(command),
                Err(_) => return,
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Deliver(publication) => self.fan_out(publication),
            Command::Admit(arrival) => self.admit(*arrival),
            Command::Joined(joined) => self.joined(*joined),
            Command::Answer { to, frame } => self.answered_elsewhere(to, frame),
            Command::Confirmed { to, outcome } => self.confirmed(to, outcome),
            Command::Control(control) => self.control(control),
            Command::LookAtGroup(name, reply) => {
                // The one who asked may be gone.
                let _ = reply.send(self.report_group(&name));
            }
            Command::PossibleGap(doubt) => self.notify_doubt(&doubt),
            Command::Positions(groups, reply) => {
                let _ = reply.send(self.positions(groups.as_deref()));
            }
            Command::LookAtUser(sub, reply) => {
                let _ = reply.send(self.report_user(&sub));
            }
            Command::LookAtOutboxes(reply) => {
                let _ = reply.send(self.waiting_bytes());
            }
            Command::Drain { rate, window, grace } => self.begin_drain(rate, window, grace),
        }
    }

    /// Writes every touched socket once, giving reads and timers their share in between.
    fn write_batch(&mut self, events: &mut Events) {
        let touched = std::mem::take(&mut self.turn.touched);
        for (written, key) in touched.iter().enumerate() {
            if written % SLICE == SLICE - 1 {
                self.poll_sockets(events, Duration::ZERO);
                self.take_events(events);
            }
            self.write_out(*key);
        }
        // Reads in between may have answered; nothing new was linked.
        self.turn.touched = touched;
        self.write_answers();
        self.finish_tick();
    }

    /// Flushes the seats that have something to write but no links; one of them may be closed by
    /// it, and then has its close frame to write.
    fn write_answers(&mut self) {
        while let Some(key) = self.answered.pop() {
            self.write_out(key);
        }
    }

    fn begin_drain(&mut self, rate: u32, window: Duration, grace: Duration) {
        if self.drain.is_some() {
            return;
        }
        self.drain = Some(Drain {
            queue: self.seats.keys().collect(),
            rate,
            began: self.clock.now,
            closed: 0,
            window,
            deadline: self.clock.now + grace,
        });
    }

    /// Closes as many connections as are due by the rate of a drain under way.
    fn close_drained(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let elapsed = self.clock.now.duration_since(drain.began);
        let due = (elapsed.as_secs_f64() * f64::from(drain.rate)) as u64 + 1;
        let count = (due.saturating_sub(drain.closed) as usize).min(drain.queue.len());
        drain.closed += count as u64;
        let window = drain.window;
        let keys = drain.queue.split_off(drain.queue.len() - count);
        for key in keys {
            self.close(key, Disconnect::DRAINING.within(window));
        }
    }

    /// Tells what the turn counted.
    fn account(&mut self) {
        self.gauges.inbox.set(self.inbox.len() as f64);
        let tally = std::mem::take(&mut self.tally);
        let metrics = &self.blueprint.metrics;
        metrics.requests_waiting.set(self.outgoing.len() as f64);
        if tally.writes > 0 {
            metrics.deliveries.increment(tally.deliveries);
            metrics.writes.increment(tally.writes);
            metrics.bytes_written.increment(tally.bytes);
        }
    }

    /// Whether a seat is there and not closing.
    pub(super) fn is_open(&self, key: SeatKey) -> bool {
        self.seats.get(key).is_some_and(|seat| !seat.is_closing())
    }

    /// Counts a connection out of what the front door sees: the shard's load, the user's count.
    pub(super) fn count_out(&self, sub: &Arc<str>) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.registry.leave(sub);
    }
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: now, now, started_unix: unix.as_secs() }
    }

    /// Whole seconds since the shard started.
    pub(super) fn second(&self) -> u32 {
        self.now.duration_since(self.started).as_secs() as u32
    }

    /// Milliseconds since the shard started.
    pub(super) fn millis(&self) -> Millis {
        self.millis_at(self.now)
    }

    /// Any moment on the shard's scale; before its start counts as its start.
    pub(super) fn millis_at(&self, moment: Instant) -> Millis {
        Millis(moment.saturating_duration_since(self.started).as_millis() as u64)
    }

    /// Seconds since 1970.
    pub(super) fn unix(&self) -> u64 {
        self.started_unix + u64::from(self.second())
    }
}
