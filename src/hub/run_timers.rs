//! What a connection needs without saying a word: pings, the end of its token, its own end.

use mio::Token;

use super::connections::Phase;
use super::deliver::group_of;
use super::join_buffer::ADDRESSED;
use super::members::SeatKey;
use super::report::Dropped;
use super::shard::{CLOSING_SECONDS, Shard};
use crate::frame::Frame;
use crate::protocol::{Disconnect, outbound};
use crate::socket::Source;

/// Seconds before the end of a token at which a v1 client is told that it needs a new one.
const AUTH_DUE_SECONDS: u64 = 60;

impl Shard {
    /// Looks at every connection whose second has come.
    pub(super) fn run_timers(&mut self) {
        let second = self.clock.second();
        let mut due = std::mem::take(&mut self.due);
        self.wheel.turn(u64::from(second), &mut due);
        for key in due.drain(..) {
            // An entry may outlive its seat; a reused key has its own, with its own second.
            if self.seats.get_mut(key).is_some_and(|seat| seat.due <= second) {
                self.run_timer(key, second);
            }
        }
        self.due = due;
    }

    fn run_timer(&mut self, key: SeatKey, second: u32) {
        let ping = self.blueprint.connection.ping.as_secs() as u32;
        let grace = self.blueprint.connection.ping_grace.as_secs() as u32;
        let unix = self.clock.unix();
        let seat = &mut self.seats[key];
        if let Phase::Closing(until) = seat.phase {
            return if second >= until { self.drop_seat(key) } else { self.schedule(key) };
        }
        if unix >= seat.identity.expires_at {
            let over = match seat.vouched {
                Some(_) => {
                    Disconnect::UNAVAILABLE.because("the back end does not confirm who it is")
                }
                None => Disconnect::UNAUTHORIZED.because("token expired"),
            };
            return self.close(key, over);
        }
        let arriving = seat.phase == Phase::Arriving;
        if second >= seat.heard + ping + grace {
            let late = if arriving { Disconnect::UNAVAILABLE } else { Disconnect::SILENT };
            return self.close(key, late);
        }
        if arriving {
            // Nothing comes before the welcome.
            return self.schedule(key);
        }
        if seat.vouched.as_ref().is_some_and(|vouched| vouched.is_due(unix)) {
            self.ask_to_confirm(key);
        }
        let seat = &mut self.seats[key];
        let v1 = seat.is_v1();
        let mut answers = [None, None];
        let renews = v1 && seat.vouched.is_none();
        if renews && !seat.warned && unix + AUTH_DUE_SECONDS >= seat.identity.expires_at {
            seat.warned = true;
            answers[0] = Some(outbound::auth_due());
        }
        if second >= seat.pinged + ping {
            seat.pinged = second;
            // Also to one that reads slowly: it goes ahead of what waits, and without it a slow
            // reader that says nothing would pass for a dead one. Two wait at most.
            answers[1] = Some(if v1 { outbound::ping() } else { Frame::ping() });
        }
        for frame in answers.into_iter().flatten() {
            self.answer(key, frame);
        }
        if self.is_open(key) {
            self.schedule(key);
        }
    }

    /// Puts a seat where the wheel meets it when something may be due.
    pub(super) fn schedule(&mut self, key: SeatKey) {
        let ping = self.blueprint.connection.ping.as_secs() as u32;
        let grace = self.blueprint.connection.ping_grace.as_secs() as u32;
        let (second, unix) = (self.clock.second(), self.clock.unix());
        let seat = &mut self.seats[key];
        let expires_at = seat.identity.expires_at;
        let token_due = |before: u64| {
            let left = expires_at.saturating_sub(unix + before);
            second.saturating_add(u32::try_from(left).unwrap_or(u32::MAX))
        };
        let due = match seat.phase {
            Phase::Closing(until) => until,
            Phase::Arriving => (seat.heard + ping + grace).min(token_due(0)),
            Phase::Open => {
                let warned = seat.warned || seat.vouched.is_some() || !seat.is_v1();
                let token_due = token_due(if warned { 0 } else { AUTH_DUE_SECONDS });
                let asked = seat.vouched.as_ref().map_or(u32::MAX, |v| v.due(second, unix));
                (seat.pinged + ping).min(seat.heard + ping + grace).min(token_due).min(asked)
            }
        };
        seat.due = self.wheel.put(key, u64::from(due)) as u32;
    }

    /// Queues an answer; it is written at the end of the turn. Nothing follows a close frame.
    pub(super) fn answer(&mut self, key: SeatKey, frame: Frame) {
        if !self.is_open(key) {
            return;
        }
        match self.seats[key].connection.answer(frame) {
            Ok(()) => self.answered.push(key),
            Err(disconnect) => self.close(key, disconnect),
        }
    }

    /// Ends a conversation: memberships now, the close frame in place of what waits, the socket when
    /// the peer has answered or its time is over.
    pub(super) fn close(&mut self, key: SeatKey, disconnect: Disconnect) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        if seat.is_closing() {
            return;
        }
        tracing::debug!(connection = %seat.id, code = disconnect.code, reason = disconnect.reason, "closing");
        let disconnect = match disconnect.retry {
            None if disconnect.may_return() => disconnect.within(self.blueprint.retry_window),
            _ => disconnect,
        };
        self.end_with(key, disconnect.code, disconnect.frame());
    }

    /// The peer closes: its code is returned and the conversation is over.
    pub(super) fn closed_by_peer(&mut self, key: SeatKey, code: Option<u16>) {
        if self.seats[key].is_closing() {
            return self.hang_up(key);
        }
        let echo = code.map_or_else(Frame::close_empty, |code| Frame::close(code, ""));
        self.end_with(key, code.unwrap_or(NO_CODE), echo);
    }

    fn end_with(&mut self, key: SeatKey, code: u16, frame: Frame) {
        let until = self.clock.second() + CLOSING_SECONDS;
        let seat = &mut self.seats[key];
        seat.phase = Phase::Closing(until);
        let lost = seat.connection.finish(frame);
        self.end_conversation(key, code, &lost);
        self.schedule(key);
        self.answered.push(key);
        // Its peer's close may stand in what waits, or behind it.
        self.resumed.push((key, self.seats[key].id.serial));
    }

    fn end_conversation(&mut self, key: SeatKey, code: u16, lost: &[(Source, u32)]) {
        for (source, count) in lost {
            let dropped = Dropped { closed: u64::from(*count), ..Dropped::default() };
            self.count(key, group_of(*source), dropped);
        }
        let mut chain = std::mem::take(&mut self.seats[key].chain);
        while let Some((frame, rest)) = self.turn.split(chain) {
            chain = rest;
            let item = self.turn.frames[frame as usize].item;
            let group = self.turn.items[item as usize].group;
            self.count(key, group, Dropped { closed: 1, ..Dropped::default() });
        }
        self.blueprint.metrics.closes(code).increment(1);
        self.closed_users.note(&self.seats[key].identity.sub, code, self.clock.now);
        while let Some(membership) = self.seats[key].memberships.last() {
            self.end_membership(key, membership.group);
        }
        let closed = self.holds.end(key, ADDRESSED).len();
        self.count(key, None, Dropped { closed, ..Dropped::default() });
    }

    /// The peer has sent its last: a close frame that waits still has its chance.
    pub(super) fn hang_up(&mut self, key: SeatKey) {
        if !self.is_open(key) {
            self.write_out(key);
        }
        self.drop_seat(key);
    }

    /// Shuts a closing connection's sending side once its close frame is written.
    pub(super) fn finish_closing(&mut self, key: SeatKey) {
        let seat = &mut self.seats[key];
        if !seat.is_closing() || seat.connection.has_waiting() {
            return;
        }
        if seat.connection.shut_down().is_err() {
            self.drop_seat(key);
        }
    }

    /// Lets go of a socket and of everything known of it.
    pub(super) fn drop_seat(&mut self, key: SeatKey) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        if !seat.is_closing() {
            let lost = seat.connection.backlog_of_events();
            self.end_conversation(key, ABNORMAL, &lost);
        }
        let seat = self.seats.remove(key);
        self.blueprint.metrics.connections.of(seat.protocol()).decrement(1.0);
        self.count_out(&seat.identity.sub);
    }

    /// The token under which a seat's socket is watched.
    pub(super) fn token(key: SeatKey) -> Token {
        Token(key as usize)
    }
}

/// A close frame without a code (RFC 6455 section 7.1.5), as counted and reported.
const NO_CODE: u16 = 1005;

/// A connection that ended without a close frame (RFC 6455 section 7.1.5).
const ABNORMAL: u16 = 1006;
