//! Arrivals and memberships: the wish to join, by whomever, and the leave.

use super::command::{Cause, Join, NewConnection, Request};
use super::confirm::Vouched;
use super::connections::{Budget, Connection};
use super::join_buffer::ADDRESSED;
use super::members::{GroupKey, SeatKey};
use super::report::Dropped;
use super::shard::Shard;
use crate::event::{ConnectionId, Control, Member, Position};
use crate::frame::Frame;
use crate::group::GroupName;
use crate::protocol::outbound::{self, Held, JoinOutcome};
use crate::protocol::{Code, Disconnect, Encoding, Refusal};
use crate::socket::{ClientSocket, Gaps, Source};

impl Shard {
    /// Gives an arrival its seat and asks the layer for its groups.
    pub(super) fn admit(&mut self, arrival: NewConnection) {
        let NewConnection {
            id,
            stream,
            leftover,
            identity,
            encoding,
            route,
            parameters,
            groups,
            vouch,
        } = arrival;
        let settings = &self.blueprint.connection;
        let gaps = if encoding == Encoding::V1 { Gaps::Told } else { Gaps::Counted };
        let connection = match ClientSocket::new(stream, leftover, settings, gaps) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(connection = %id, %error, "socket could not be taken over");
                return self.count_out(&identity.sub);
            }
        };
        let budget = Budget::full(settings.frame_burst, self.clock.millis().0);
        let second = self.clock.second();
        let mut seat = Connection::new(id, connection, identity, encoding, route, budget, second);
        if !parameters.is_empty() {
            seat.parameters = Some(parameters.into());
        }
        seat.vouched = vouch.map(Vouched::boxed);
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
        self.ask_to_join(key, Cause::NewConnection, groups, Vec::new());
    }

    /// Makes `key` a member that is held back, and asks the layer where its groups stand.
    pub(super) fn ask_to_join(
        &mut self,
        key: SeatKey,
        cause: Cause,
        groups: Vec<(GroupName, Option<Position>)>,
        refused: Vec<(usize, JoinOutcome)>,
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
            Cause::NewConnection => self.holds.begin(key, ADDRESSED, ticket),
            Cause::Client(_) => seat.in_flight += 1,
            // Not the client's request: what it may ask for does not depend on it.
            Cause::Server(_) => {}
        }
        let join = Join { to: seat.id, shard: self.index, ticket, cause, groups, refused };
        self.request(key, Request::Join(join));
    }

    /// Ends memberships that the client or the server wants ended; those that were held.
    pub(super) fn leave(&mut self, key: SeatKey, names: &[GroupName]) -> Vec<JoinOutcome> {
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
            left.push(JoinOutcome { group: name.as_str().into(), outcome });
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
            Control::Close(member, code) => self.close_all(&self.seats_of(&member), code),
            Control::CloseSession(sub, session, code) => {
                let mut keys = self.seats_of(&Member::User(sub));
                keys.retain(|key| self.seats[*key].identity.session() == Some(&*session));
                self.close_all(&keys, code);
            }
        }
    }

    fn close_all(&mut self, keys: &[SeatKey], code: u16) {
        for key in keys {
            // What was answered before the end is not lost to it.
            self.write_out(*key);
            self.close(*key, Disconnect::of_code(code));
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
        if !left.is_empty() && self.seats.get(key).is_some_and(Connection::is_v1) {
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
