//! Arrivals and memberships: from the wish to join, over the layer's answer, to the last leave.

use std::sync::Arc;

use super::command::{Arrival, Cause, Join, Joined, Request};
use super::hold::{ADDRESSED, Waiting, is_newer};
use super::members::{GroupKey, SeatKey};
use super::report::Dropped;
use super::seat::{Budget, Phase, Seat};
use super::shard::Shard;
use crate::connection::{Connection, Gaps, Limits, Overflow, Source};
use crate::event::{ConnectionId, Control, Member, Position, Publication, Recovery};
use crate::frame::Frame;
use crate::group::GroupName;
use crate::protocol::outbound::{self, Held, Standing, Welcome};
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
                return self.count_out(&identity.sub);
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
        let ticket = self.holds.ticket();
        for (name, _) in &groups {
            let limits = || self.blueprint.connection.limits_of(name);
            if let Some(group) = self.groups.join(&mut self.seats, key, name, by_backend, limits) {
                self.holds.begin(key, group, ticket);
            }
        }
        let seat = &mut self.seats[key];
        match cause {
            Cause::Arrival => self.holds.begin(key, ADDRESSED, ticket),
            Cause::Client(_) => seat.in_flight += 1,
            // Not the client's request: what it may ask for does not depend on it.
            Cause::Server(_) => {}
        }
        let join = Join { to: seat.id, shard: self.index, ticket, cause, groups, refused };
        self.request(key, Request::Join(join));
    }

    /// The layer's answer: told first, then the replay, then what was held back, then live.
    pub(super) fn joined(&mut self, joined: Joined) {
        let Some(key) = self.seats.find(joined.to) else { return };
        if let Cause::Client(_) = joined.cause {
            self.landed(key);
        }
        if !self.is_open(key) {
            return;
        }
        let mut standings = Vec::with_capacity(joined.groups.len() + joined.refused.len());
        let mut recovered = Vec::new();
        let mut unavailable = false;
        for (name, outcome) in joined.groups {
            unavailable |= outcome.is_err();
            let outcome = self.stand(key, joined.ticket, &name, outcome, &mut recovered);
            standings.push(Standing { group: name.as_str().into(), outcome });
        }
        // By rising place, so each stands where it was asked for.
        for (place, standing) in joined.refused {
            standings.insert(place.min(standings.len()), standing);
        }
        if joined.cause == Cause::Arrival {
            if unavailable && !self.seats[key].is_v1() {
                // A plain client cannot be told, and without its groups it is deaf.
                return self.close(key, Disconnect::UNAVAILABLE);
            }
            self.open(key);
        }
        self.tell_joined(key, joined.cause, &standings);
        for (group, recovery) in recovered {
            self.catch_up(key, group, recovery);
        }
        if joined.cause == Cause::Arrival {
            self.release_addressed(key);
        }
    }

    /// Where one group of a join stands; those that are to be caught up with join `recovered`.
    fn stand(
        &mut self,
        key: SeatKey,
        ticket: u64,
        name: &GroupName,
        outcome: Result<Recovery, Refusal>,
        recovered: &mut Vec<(GroupKey, Recovery)>,
    ) -> Result<Held, Refusal> {
        let held = self.groups.held(&self.seats, key, name);
        let left = || Refusal::new(Code::NotJoined, format!("group {name} was left meanwhile"));
        let group = held.ok_or_else(left)?;
        match (self.holds.waits_for(key, group), outcome) {
            // Left, and joined again since: the later join has its own answer.
            (Some(later), _) if later > ticket => Err(left()),
            (Some(own), Ok(recovery)) if own == ticket => {
                let told =
                    Held { position: recovery.position.clone(), recovered: recovery.recovered };
                recovered.push((group, recovery));
                Ok(told)
            }
            (Some(own), Err(refusal)) if own == ticket => {
                self.end_membership(key, group);
                Err(refusal)
            }
            // Held when it was asked for once more: nothing changes, and nothing is replayed.
            (_, outcome) => {
                outcome.map(|recovery| Held { position: recovery.position, recovered: None })
            }
        }
    }

    /// The conversation begins: from now on silence counts.
    fn open(&mut self, key: SeatKey) {
        let second = self.clock.second();
        let seat = &mut self.seats[key];
        seat.phase = Phase::Open;
        (seat.heard, seat.pinged) = (second, second);
        self.resumed.push((key, seat.id.serial));
        self.schedule(key);
    }

    fn tell_joined(&mut self, key: SeatKey, cause: Cause, standings: &[Standing]) {
        let v1 = self.seats[key].is_v1();
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
        // What came before in the same answer may have closed the connection, or was this group.
        if self.holds.waits_for(key, group).is_none() {
            return;
        }
        self.blueprint.metrics.joins.increment(1);
        let waiting = self.holds.end(key, group);
        let answered = recovery.position;
        self.settle(key, group, answered.as_ref());
        for publication in recovery.replay {
            self.deliver_to(key, Some(group), publication, true);
        }
        self.deliver_waiting(key, Some(group), waiting, answered.as_ref());
    }

    /// What was addressed to a connection while it arrived.
    fn release_addressed(&mut self, key: SeatKey) {
        let waiting = self.holds.end(key, ADDRESSED);
        self.deliver_waiting(key, None, waiting, None);
    }

    /// Lets live publications through: all, or those behind a position that they have yet to reach.
    fn settle(&mut self, key: SeatKey, group: GroupKey, answered: Option<&Position>) {
        let ahead = answered.filter(|position| !self.groups.get(group).has_reached(position));
        let Some(position) = ahead else { return self.groups.settle(&self.seats, key, group) };
        let members = &self.groups.get(group).members;
        let waits = |seat| seat == key || self.holds.waits_for(seat, group).is_some();
        if members.iter().all(|member| member.pending && waits(member.seat)) {
            self.groups.get_mut(group).reached = Some(position.clone());
            return self.groups.settle(&self.seats, key, group);
        }
        self.holds.follow(key, group, position.clone());
    }

    fn deliver_waiting(
        &mut self,
        key: SeatKey,
        group: Option<GroupKey>,
        mut waiting: Waiting,
        answered: Option<&Position>,
    ) {
        for publication in std::mem::take(&mut waiting.publications) {
            if is_newer(&publication, answered) {
                self.deliver_to(key, group, publication, false);
            }
        }
        let Some(gap) = waiting.gap(answered) else { return };
        if self.limits_of(group).overflow == Overflow::Close {
            return self.close(key, Disconnect::SLOW);
        }
        let lost = Dropped { capacity: gap.lost.unwrap_or_default(), ..Dropped::default() };
        self.tell_gap(key, group, gap, lost);
    }

    /// Links one publication to one seat, which may have been closed by those before.
    fn deliver_to(
        &mut self,
        key: SeatKey,
        group: Option<GroupKey>,
        publication: Arc<Publication>,
        replay: bool,
    ) {
        if !self.is_open(key) {
            return;
        }
        if self.is_over(&publication) {
            return self.expire(key, group, &publication);
        }
        let item = self.tick.add(publication, group, self.limits_of(group), replay);
        self.link(key, item);
        if let Some(group) = group {
            self.groups.get_mut(group).sent += self.tick.items[item as usize].receivers;
        }
    }

    fn limits_of(&self, group: Option<GroupKey>) -> Limits {
        group.map_or_else(Limits::default, |group| self.groups.get(group).limits)
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
        let held_back = self.holds.end(key, group).len();
        let waiting = self.seats[key].connection.forget(Source(group));
        let closed = held_back + u64::from(waiting);
        self.count(key, Some(group), Dropped { closed, ..Dropped::default() });
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
                        self.dismiss(key, std::slice::from_ref(&group), BY_BACKEND);
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
            let held = self.groups.held(&self.seats, key, group).is_some();
            if !self.is_open(key) || held {
                continue;
            }
            let most = self.blueprint.connection.groups_per_connection;
            if self.seats[key].memberships.len() >= most {
                tracing::warn!(connection = %self.seats[key].id, %group, "not joined: it holds as many groups as it may");
                continue;
            }
            let groups = vec![(group.clone(), None)];
            self.ask_to_join(key, Cause::Server(BY_BACKEND), groups, Vec::new());
        }
    }

    /// Ends memberships for a reason of the server's. Those whose join is not answered yet were never
    /// told, and their answer will say that they are gone.
    pub(super) fn dismiss(&mut self, key: SeatKey, names: &[GroupName], reason: &'static str) {
        let is_told = |name: &&GroupName| {
            let held = self.groups.held(&self.seats, key, name);
            held.is_some_and(|group| self.holds.waits_for(key, group).is_none())
        };
        let told = names.iter().filter(is_told).cloned().collect::<Vec<_>>();
        let mut left = self.leave(key, names);
        left.retain(|standing| told.iter().any(|name| *name.as_str() == *standing.group));
        if !left.is_empty() && self.seats.get(key).is_some_and(Seat::is_v1) {
            self.answer(key, outbound::left(None, &left, Some(reason)));
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
