//! What a client says, and what comes of it.

use std::io::ErrorKind;

use super::command::{Call, Cause, Request, Send};
use super::members::SeatKey;
use super::outgoing::MAX_IN_FLIGHT;
use super::shard::Shard;
use crate::event::{Event, Position};
use crate::frame::Frame;
use crate::group::GroupName;
use crate::identity::Operation;
use crate::protocol::outbound::{self, JoinOutcome};
use crate::protocol::{
    ClientFrame, Code, Disconnect, Encoding, FrameError, JoinEntry, Refusal, parse,
    parse_plain_call,
};
use crate::socket::Inbound;
use crate::telemetry::CallFailure;

/// Reads of one socket in one turn, so that one chatterbox leaves the others their share.
const MAX_READS: usize = 4;

impl Shard {
    /// Reads what a socket has, unless its connection must wait.
    pub(super) fn read(&mut self, key: SeatKey, to_the_end: bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        for _ in 0..MAX_READS {
            let Some(seat) = self.seats.get_mut(key) else { break };
            if seat.must_wait() || seat.connection.has_backlog() {
                seat.connection.readable = true;
                break;
            }
            seat.connection.readable = false;
            match seat.connection.read(&mut scratch) {
                Ok(0) => {
                    self.hang_up(key);
                    break;
                }
                Ok(length) => {
                    seat.heard = self.clock.second();
                    self.handle_all(key, &mut scratch[..length]);
                    if length < scratch.len() && !to_the_end {
                        break;
                    }
                    if let Some(seat) = self.seats.get_mut(key) {
                        seat.connection.readable = true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.drop_seat(key);
                    break;
                }
            }
        }
        self.scratch = scratch;
        // Edge-triggered readiness does not come again for what was left unread.
        if let Some(seat) = self.seats.get_mut(key)
            && seat.connection.readable
            && !seat.must_wait()
        {
            self.resumed.push((key, seat.id.serial));
        }
    }

    /// Goes on with connections that had to wait.
    pub(super) fn resume_reading(&mut self) {
        for (key, serial) in std::mem::take(&mut self.outgoing.placed) {
            if let Some(seat) = self.seats.get_mut(key).filter(|seat| seat.id.serial == serial) {
                seat.stalled -= 1;
                self.resumed.push((key, serial));
            }
        }
        for (key, serial) in std::mem::take(&mut self.resumed) {
            let Some(seat) = self.seats.get_mut(key).filter(|seat| seat.id.serial == serial) else {
                continue;
            };
            let mut backlog = seat.connection.take_backlog();
            self.handle_all(key, &mut backlog);
            if self.seats.get_mut(key).is_some_and(|seat| seat.connection.readable) {
                self.read(key, true);
            }
        }
    }

    /// A request of this seat was answered: one less is under way.
    pub(super) fn landed(&mut self, key: SeatKey) {
        let seat = &mut self.seats[key];
        seat.in_flight = if seat.is_v1() { seat.in_flight.saturating_sub(1) } else { 0 };
        self.resumed.push((key, seat.id.serial));
    }

    /// Sends a request for a seat, which waits with it if there is no room.
    pub(super) fn request(&mut self, key: SeatKey, request: Request) {
        let serial = self.seats[key].id.serial;
        if !self.outgoing.request(key, serial, request) {
            self.seats[key].stalled += 1;
        }
    }

    /// Decodes `input` and acts on each message; what must wait is kept with the connection.
    fn handle_all(&mut self, key: SeatKey, mut input: &mut [u8]) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        let mut decoder = seat.connection.take_decoder();
        loop {
            let Some(seat) = self.seats.get_mut(key) else { return };
            if seat.must_wait() {
                seat.connection.keep_backlog(input);
                break;
            }
            match decoder.decode(&mut input) {
                Ok(Some(inbound)) => self.hear(key, inbound),
                Ok(None) => break,
                Err(disconnect) => {
                    self.close(key, disconnect);
                    break;
                }
            }
        }
        if let Some(seat) = self.seats.get_mut(key) {
            seat.connection.give_decoder(decoder);
        }
    }

    fn hear(&mut self, key: SeatKey, inbound: Inbound<'_>) {
        let settings = &self.blueprint.connection;
        let seat = &mut self.seats[key];
        if let Inbound::Close(code) = inbound {
            return self.closed_by_peer(key, code);
        }
        if seat.is_closing() {
            return;
        }
        let now = self.clock.millis().0;
        if !seat.budget.take(settings.frames_per_second, settings.frame_burst, now) {
            return self.close(key, Disconnect::TOO_MANY.because("too many frames"));
        }
        match inbound {
            Inbound::Ping(payload) => self.answer(key, Frame::pong(&payload)),
            Inbound::Text(text) if seat.encoding == Encoding::V1 => self.handle_v1(key, &text),
            Inbound::Text(text) => self.handle_plain(key, &text),
            Inbound::Pong | Inbound::Close(_) => {}
        }
    }

    fn handle_v1(&mut self, key: SeatKey, text: &str) {
        let frame = match parse(text) {
            Ok(frame) => frame,
            Err(FrameError::NotAFrame) => {
                return self
                    .close(key, Disconnect::BAD_FRAME.because("no JSON object with a type"));
            }
            Err(FrameError::Unusable { id, message }) => {
                return self.refuse(key, id, Refusal::new(Code::BadRequest, message));
            }
        };
        match frame {
            ClientFrame::Pong => {}
            ClientFrame::Hello { .. } => {
                self.refuse(key, None, Refusal::new(Code::BadRequest, "hello was said already"));
            }
            ClientFrame::Join { id, groups } => self.handle_join(key, id, &groups),
            ClientFrame::Leave { id, groups } => self.handle_leave(key, id, &groups),
            ClientFrame::Send { id, group, data, echo, key: dedupe } => {
                match self.checked_send(key, &group, data.get()) {
                    Ok((group, event)) => {
                        let key_text = dedupe.map(|text| text.into());
                        self.handle_send(key, id, group, event, echo, key_text);
                    }
                    Err(refusal) => self.refuse(key, Some(id), refusal),
                }
            }
            ClientFrame::Call { id, name, data, key: dedupe } => {
                let call =
                    (name.into(), data.map(ToOwned::to_owned), dedupe.map(|text| text.into()));
                self.handle_call(key, Some(id), call);
            }
            ClientFrame::Auth { id, token } => self.handle_auth(key, id, &token),
        }
    }

    fn handle_join(&mut self, key: SeatKey, id: u64, entries: &[JoinEntry<'_>]) {
        let mut wanted = Vec::with_capacity(entries.len());
        let mut refused = Vec::new();
        let mut room = self
            .blueprint
            .connection
            .groups_per_connection
            .saturating_sub(self.seats[key].memberships.len());
        for (place, entry) in entries.iter().enumerate() {
            match self.checked_join(key, entry, &mut room) {
                Ok(ask) => wanted.push(ask),
                Err(refusal) => refused.push((place, standing(entry, refusal))),
            }
        }
        if wanted.is_empty() {
            let refused = refused.into_iter().map(|(_, standing)| standing).collect::<Vec<_>>();
            return self.answer(key, outbound::joined(Some(id), &refused, None));
        }
        self.ask_to_join(key, Cause::Client(id), wanted, refused);
    }

    fn checked_join(
        &self,
        key: SeatKey,
        entry: &JoinEntry<'_>,
        room: &mut usize,
    ) -> Result<(GroupName, Option<Position>), Refusal> {
        let name = legal(&entry.group)?;
        let seat = &self.seats[key];
        if self.groups.held(&self.seats, key, &name).is_some() {
            return Ok((name, None));
        }
        if !self.blueprint.policy.may(&seat.identity, Operation::Join, name.as_str()) {
            return Err(forbidden(Operation::Join, name.as_str()));
        }
        let most = self.blueprint.connection.groups_per_connection;
        *room = room.checked_sub(1).ok_or_else(|| {
            Refusal::new(Code::TooManyGroups, format!("a connection may hold {most} groups"))
        })?;
        let since = entry
            .since
            .as_ref()
            .map(|(epoch, offset)| Position { epoch: (&**epoch).into(), offset: *offset });
        Ok((name, since))
    }

    fn handle_leave(&mut self, key: SeatKey, id: u64, entries: &[JoinEntry<'_>]) {
        let mut standings = Vec::with_capacity(entries.len());
        for entry in entries {
            match legal(&entry.group) {
                Ok(name) => standings.append(&mut self.leave(key, &[name])),
                Err(refusal) => standings.push(standing(entry, refusal)),
            }
        }
        if self.seats.get_mut(key).is_some() {
            self.answer(key, outbound::left(Some(id), &standings, None));
        }
    }

    fn checked_send(
        &self,
        key: SeatKey,
        group: &str,
        data: &str,
    ) -> Result<(GroupName, Event), Refusal> {
        let name = legal(group)?;
        let identity = &self.seats[key].identity;
        if !self.blueprint.policy.may(identity, Operation::Send, name.as_str()) {
            return Err(forbidden(Operation::Send, name.as_str()));
        }
        let event = Event::parse(bytes::Bytes::copy_from_slice(data.as_bytes()))
            .map_err(|error| Refusal::new(Code::InvalidEvent, error.to_string()))?;
        Ok((name, event))
    }

    fn handle_send(
        &mut self,
        key: SeatKey,
        id: u64,
        group: GroupName,
        event: Event,
        echo: bool,
        dedupe: Option<Box<str>>,
    ) {
        let seat = &mut self.seats[key];
        seat.in_flight += 1;
        let (to, sub) = (seat.id, seat.identity.sub.clone());
        let send = Send { to, shard: self.index, sub, id, group, event, echo, key: dedupe };
        self.request(key, Request::Send(Box::new(send)));
    }

    fn handle_plain(&mut self, key: SeatKey, text: &str) {
        let Some(call) = parse_plain_call(text) else {
            self.blueprint.metrics.calls_failed.of(CallFailure::NotACall).increment(1);
            tracing::debug!(connection = %self.seats[key].id, "a plain frame that is no call");
            return;
        };
        self.handle_call(key, None, (call.name.into(), Some(call.data.to_owned()), None));
    }

    fn handle_call(&mut self, key: SeatKey, id: Option<u64>, call: CallParts) {
        let (name, data, dedupe) = call;
        let seat = &mut self.seats[key];
        let route = &self.blueprint.routes[usize::from(seat.route)];
        let notify_errors = id.is_some() || route.call_errors;
        if !self.blueprint.policy.may(&seat.identity, Operation::Call, &name) {
            let refusal = forbidden(Operation::Call, &name);
            self.blueprint.metrics.calls_failed.of(CallFailure::Forbidden).increment(1);
            tracing::debug!(connection = %seat.id, call = %name, "call refused: no grant");
            if notify_errors {
                self.refuse(key, id, refusal);
            }
            return;
        }
        // A plain client's calls go out one at a time: it cannot tell the answers apart.
        seat.in_flight = if id.is_none() { MAX_IN_FLIGHT } else { seat.in_flight + 1 };
        let (to, identity) = (seat.id, seat.identity.clone());
        let path = route.path_with(seat.parameters.as_deref());
        let shard = self.index;
        let call = Call { to, shard, identity, path, id, notify_errors, name, data, key: dedupe };
        self.request(key, Request::Call(Box::new(call)));
    }

    /// An `error` frame, with the id of what it answers.
    pub(super) fn refuse(&mut self, key: SeatKey, id: Option<u64>, refusal: Refusal) {
        self.answer(key, outbound::error(id, &refusal));
    }
}

/// Name, data and key of a call.
type CallParts = (Box<str>, Option<Box<serde_json::value::RawValue>>, Option<Box<str>>);

fn standing(entry: &JoinEntry<'_>, refusal: Refusal) -> JoinOutcome {
    JoinOutcome { group: (*entry.group).into(), outcome: Err(refusal) }
}

fn legal(name: &str) -> Result<GroupName, Refusal> {
    GroupName::parse(name).map_err(|error| Refusal::new(Code::IllegalName, error.to_string()))
}

fn forbidden(operation: Operation, name: &str) -> Refusal {
    let name = name.chars().take(100).collect::<String>();
    Refusal::new(Code::Forbidden, format!("no grant to {operation} {name:?}"))
}
