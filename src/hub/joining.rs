//! Arrivals and memberships: from the wish to join, over the layer's answer, to the last leave.

use std::sync::Arc;

use super::command::{Arrival, Cause, Join, Joined, Request};
use super::hold::Hold;
use super::members::{GroupKey, SeatKey};
use super::report::Dropped;
use super::seat::{Budget, Phase, Seat};
use super::shard::Shard;
use crate::connection::{Connection, Gaps, Limits, Source};
use crate::event::{ConnectionId, Control, Member, Position, Publication, Recovery};
use crate::frame::Frame;
use crate::group::GroupName;
use crate::protocol::outbound::{self, Gap, GapReason, Held, Standing, Welcome};
use crate::protocol::{Code, Disconnect, Encoding, Refusal};

impl Shard {
    /// Gives an arrival its seat and asks the layer for its groups.
    pub(super) fn admit(&mut self, arrival: Arrival) {
        let Arrival { id, stream, leftover, identity, encoding, route, parameters, groups } =
            arrival;
        let settings = &self.blueprint.connection;
        let gaps = if encoding == Encoding::V1 { Gaps::Told } else { Gaps::Counted };
        let connection = match Connection::new(stream, leftover, settings, gaps) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(connection = %id, %error, "socket could not be taken over");
                self.registry.leave(&identity.sub);
                return;
            }
        };
        let budget = Budget::full(settings.frame_burst, self.clock.millis().0);
        let second = self.clock.second();
        let mut seat = Seat::new(id, connection, identity, encoding, route, budget, second);
        if !parameters.is_empty() {
            seat.parameters = Some(parameters.into());
        }
        let key = self.seats.insert(seat);
        self.blueprint.metrics.connections.of(self.seats[key].protocol()).increment(1.0);
        let registry = self.poll.registry();
        if let Err(error) = self.seats[key].connection.register(registry, Self::token(key)) {
            tracing::warn!(connection = %id, %error, "socket could not be watched");
            return self.drop_seat(key);
        }
        self.schedule(key);
        if self.drain.is_some() {
            return self.close(key, Disconnect::DRAINING);
        }
        self.ask_to_join(key, Cause::Arrival, groups, Vec::new());
    }

    /// Makes `key` a member that is held back, and asks the layer where its groups stand.
    pub(super) fn ask_to_join(
        &mut self,
        key: SeatKey,
        cause: Cause,
        groups: Vec<(GroupName, Option<Position>)>,
        refused: Vec<(usize, Standing)>,
    ) {
        let by_backend = cause == Cause::Server(BY_BACKEND);
        for (name, _) in &groups {
            let limits = || self.blueprint.connection.limits_of(name);
            self.groups.join(&mut self.seats, key, name, by_backend, limits);
        }
        let seat = &mut self.seats[key];
        seat.in_flight = seat.in_flight.saturating_add(1);
        let join = Join { to: seat.id, shard: self.index, cause, groups, refused };
        self.request(key, Request::Join(join));
    }

    /// The layer's answer: told first, then the replay, then what was held back, then live.
    pub(super) fn joined(&mut self, joined: Joined) {
        let Some(key) = self.seats.find(joined.to) else { return };
        self.landed(key);
        if !self.is_open(key) {
            return;
        }
        let mut standings = Vec::with_capacity(joined.groups.len() + joined.refused.len());
        let mut recovered = Vec::new();
        for (name, outcome) in joined.groups {
            let Some(group) = self.groups.held(&self.seats, key, &name) else {
                let gone =
                    Refusal::new(Code::NotJoined, format!("group {name} was left meanwhile"));
                standings.push(Standing { group: name.as_str().into(), outcome: Err(gone) });
                continue;
            };
            let outcome = match outcome {
                Ok(recovery) => {
                    let held =
                        Held { position: recovery.position.clone(), recovered: recovery.recovered };
                    recovered.push((group, recovery));
                    Ok(held)
                }
                Err(refusal) => {
                    self.holds.release(key, group);
                    self.end_membership(key, group);
                    Err(refusal)
                }
            };
            standings.push(Standing { group: name.as_str().into(), outcome });
        }
        // By rising place, so each stands where it was asked for.
        for (place, standing) in joined.refused {
            standings.insert(place.min(standings.len()), standing);
        }
        self.tell_joined(key, joined.cause, &standings);
        for (group, recovery) in recovered {
            self.catch_up(key, group, recovery);
        }
    }

    fn tell_joined(&mut self, key: SeatKey, cause: Cause, standings: &[Standing]) {
        let seat = &mut self.seats[key];
        let v1 = seat.is_v1();
        if cause == Cause::Arrival {
            seat.phase = Phase::Open;
            let failed = standings.iter().any(|standing| standing.outcome.is_err());
            if failed && !v1 {
                // A plain client cannot be told, and without its groups it is deaf.
                return self.close(key, Disconnect::UNAVAILABLE);
            }
        }
        if v1 {
            let frame = match cause {
                Cause::Arrival => self.welcome(key, standings),
                Cause::Client(id) => outbound::joined(Some(id), standings, None),
                Cause::Server(reason) => outbound::joined(None, standings, Some(reason)),
            };
            self.answer(key, frame);
        } else if cause == Cause::Arrival {
            let route = usize::from(self.seats[key].route);
            if let Some(welcome) = self.blueprint.routes[route].welcome.clone() {
                self.answer(key, welcome);
            }
        }
    }

    fn welcome(&self, key: SeatKey, groups: &[Standing]) -> Frame {
        let seat = &self.seats[key];
        let settings = &self.blueprint.connection;
        outbound::welcome(&Welcome {
            connection: seat.id,
            ping_ms: settings.ping.as_millis() as u64,
            max_bytes: settings.max_frame_bytes,
            expires_in: Some(seat.identity.expires_at.saturating_sub(self.clock.unix())),
            retry_ms: self.blueprint.retry_window.as_millis() as u64,
            groups,
        })
    }

    /// Replay, then what was held back and is newer, then live.
    fn catch_up(&mut self, key: SeatKey, group: GroupKey, recovery: Recovery) {
        let limits = self.groups.get(group).limits;
        self.groups.settle(&self.seats, key, group);
        let Hold { publications, lost } = self.holds.release(key, group);
        for publication in recovery.replay {
            self.deliver_to(key, group, publication, limits);
        }
        for publication in publications {
            if is_newer(&publication, recovery.position.as_ref()) {
                self.deliver_to(key, group, publication, limits);
            }
        }
        if lost > 0 {
            self.count(key, Some(group), Dropped { capacity: lost, ..Dropped::default() });
            self.tell_gap(key, group, lost);
        }
    }

    fn deliver_to(
        &mut self,
        key: SeatKey,
        group: GroupKey,
        publication: Arc<Publication>,
        limits: Limits,
    ) {
        let item = self.tick.add(publication, Some(group), limits);
        self.link(key, item);
    }

    fn tell_gap(&mut self, key: SeatKey, group: GroupKey, lost: u64) {
        self.write_out(key);
        let gap = Gap { reason: GapReason::Slow, lost: Some(lost), range: None, possible: false };
        let Some(seat) = self.seats.get_mut(key) else { return };
        match seat.connection.mark(Source(group), gap) {
            Ok(()) => self.answered.push(key),
            Err(disconnect) => self.close(key, disconnect),
        }
    }

    /// Ends memberships that the client or the server wants ended; those that were held.
    pub(super) fn leave(&mut self, key: SeatKey, names: &[GroupName]) -> Vec<Standing> {
        self.write_out(key);
        let mut left = Vec::with_capacity(names.len());
        for name in names {
            if self.seats.get_mut(key).is_none() {
                break;
            }
            let outcome = match self.groups.held(&self.seats, key, name) {
                Some(group) => {
                    self.end_membership(key, group);
                    Ok(Held::default())
                }
                None => Err(Refusal::new(Code::NotJoined, format!("group {name} is not joined"))),
            };
            left.push(Standing { group: name.as_str().into(), outcome });
        }
        left
    }

    /// Takes a membership away on both sides, with what waits for it.
    pub(super) fn end_membership(&mut self, key: SeatKey, group: GroupKey) {
        self.holds.release(key, group);
        let forgotten = self.seats[key].connection.forget(Source(group));
        if forgotten > 0 {
            let closed = u64::from(forgotten);
            self.count(key, Some(group), Dropped { closed, ..Dropped::default() });
        }
        if let Some(name) = self.groups.leave(&mut self.seats, key, group) {
            self.outgoing.release(name);
        }
    }

    /// What a back end asked for.
    pub(super) fn control(&mut self, control: Control) {
        match control {
            Control::Join(member, group) => self.enlist(&member, &group),
            Control::Leave(member, group) => {
                for key in self.seats_of(&member) {
                    if self.is_open(key) && self.groups.held(&self.seats, key, &group).is_some() {
                        let left = self.leave(key, std::slice::from_ref(&group));
                        self.tell_left(key, &left, BY_BACKEND);
                    }
                }
            }
            Control::Close(member, code) => {
                for key in self.seats_of(&member) {
                    self.close(key, Disconnect::of_code(code));
                }
            }
        }
    }

    fn enlist(&mut self, member: &Member, group: &GroupName) {
        for key in self.seats_of(member) {
            let full = self.seats[key].memberships.len()
                >= self.blueprint.connection.groups_per_connection;
            let held = self.groups.held(&self.seats, key, group).is_some();
            if !self.is_open(key) || held {
                continue;
            }
            if full {
                tracing::warn!(connection = %self.seats[key].id, %group, "not joined: it holds as many groups as it may");
                continue;
            }
            let groups = vec![(group.clone(), None)];
            self.ask_to_join(key, Cause::Server(BY_BACKEND), groups, Vec::new());
        }
    }

    pub(super) fn tell_left(&mut self, key: SeatKey, left: &[Standing], reason: &'static str) {
        if self.seats.get_mut(key).is_some_and(|seat| seat.is_v1()) {
            self.answer(key, outbound::left(None, left, Some(reason)));
        }
    }

    /// The answer to a call or send, made elsewhere.
    pub(super) fn answered_elsewhere(&mut self, to: ConnectionId, frame: Option<Frame>) {
        let Some(key) = self.seats.find(to) else { return };
        self.landed(key);
        if let Some(frame) = frame
            && self.is_open(key)
        {
            self.answer(key, frame);
        }
    }
}

/// The reason told with changes that a back end made.
const BY_BACKEND: &str = "backend";

/// Whether a publication held back comes after the position answered.
fn is_newer(publication: &Publication, position: Option<&Position>) -> bool {
    match (&publication.position, position) {
        (Some(held), Some(answered)) => {
            held.epoch != answered.epoch || held.offset > answered.offset
        }
        _ => true,
    }
}
