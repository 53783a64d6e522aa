//! Handles the layer's answer to a join: the answer to the client, the replay, the switch to live.

use std::sync::Arc;

use super::Memberships;
use crate::event::{Position, Recovery};
use crate::frame::Frame;
use crate::group::GroupName;
use crate::hub::deliver::{POSSIBLE_GAP, missing, source_of};
use crate::hub::report::Dropped;
use crate::hub::request::{Cause, Joined, RequestKind};
use crate::hub::store::{
    ConnectionKey, GroupKey, GroupMember, JoinAnswer, JoinBuffer, Renewal, is_newer,
};
use crate::protocol::outbound::{self, Held, JoinOutcome, Notice, Welcome};
use crate::protocol::{Code, Disconnect, Refusal};
use crate::socket::Overflow;

impl Memberships<'_> {
    /// Sends the answer, then the replay, then what was held back; then the member is live.
    pub(in crate::hub) fn joined(&mut self, joined: Joined) {
        let Some(key) = self.connections.find(joined.to) else { return };
        if let Cause::Client(_) = joined.cause {
            self.connections[key].join_ends();
            self.connections.request_answered(key, RequestKind::Join);
        }
        if !self.connections.is_open(key) {
            return;
        }
        let mut outcomes = Vec::with_capacity(joined.groups.len() + joined.refused.len());
        let mut recovered = Vec::new();
        let mut is_unavailable = false;
        for (name, outcome) in joined.groups {
            is_unavailable |= outcome.is_err();
            let outcome = self.settle_one(key, joined.ticket, &name, outcome, &mut recovered);
            outcomes.push(JoinOutcome { group: name.as_str().into(), outcome });
        }
        // In ascending order, so each is inserted where it was requested.
        for (place, refused) in joined.refused {
            outcomes.insert(place.min(outcomes.len()), refused);
        }
        if joined.cause == Cause::NewConnection {
            if is_unavailable && !self.connections[key].is_v1() {
                // A plain client cannot be notified, and without its groups it receives nothing.
                return self.connections.close(key, Disconnect::UNAVAILABLE, self.context);
            }
            self.connections.open(key, self.context.clock.second());
        }
        self.answer_join(key, joined.cause, &outcomes);
        for (group, recovery) in recovered {
            self.recover(key, group, recovery);
        }
        if joined.cause == Cause::NewConnection {
            let buffer = self.joins.end(key, None);
            self.deliver_buffer(key, None, buffer, None);
        }
    }

    /// The outcome of the join of one group. Groups with a replay are added to `recovered`.
    fn settle_one(
        &mut self,
        key: ConnectionKey,
        ticket: u64,
        name: &GroupName,
        outcome: Result<Recovery, Refusal>,
        recovered: &mut Vec<(GroupKey, Recovery)>,
    ) -> Result<Held, Refusal> {
        let left = || {
            Refusal::new(
                Code::NotJoined,
                format!("group {name} was left before the join was answered"),
            )
        };
        let group = self.groups.held(self.connections, key, name).ok_or_else(left)?;
        match (self.joins.judge(key, group, ticket), outcome) {
            (JoinAnswer::Superseded, _) => Err(left()),
            (JoinAnswer::Expected, Ok(recovery)) => {
                let mut position = recovery.position.clone();
                if let Some((known_as, position)) =
                    recovery.known_as.as_ref().zip(position.as_mut())
                {
                    position.epoch = Arc::clone(&known_as.epoch);
                }
                let held = Held { position, recovered: recovery.recovered };
                recovered.push((group, recovery));
                Ok(held)
            }
            (JoinAnswer::Expected, Err(refusal)) => {
                self.end_one(key, group);
                Err(refusal)
            }
            (JoinAnswer::AlreadyHeld, Ok(recovery)) => {
                let own = self.standing(key, group);
                Ok(Held { position: own.or(recovery.position), recovered: None })
            }
            (JoinAnswer::AlreadyHeld, Err(refusal)) => Err(refusal),
        }
    }

    /// Where a member is when it reads an answer sent now. The layer and the group may be ahead:
    /// with their position, what follows would look old, or be taken for another epoch's.
    fn standing(&mut self, key: ConnectionKey, group: GroupKey) -> Option<Position> {
        if let Some(position) = self.joins.catching_up(key, group) {
            return Some(position.clone());
        }
        // What the turn has for it already goes before the answer, or into its outbox.
        self.delivery().write_out(key);
        let queued = self.connections[key].socket.standing(source_of(Some(group)));
        queued.or_else(|| self.groups.get(group)?.reached().cloned())
    }

    fn answer_join(&mut self, key: ConnectionKey, cause: Cause, outcomes: &[JoinOutcome]) {
        let connection = &mut self.connections[key];
        // Also taken from connections that are not sent it: it would stay in memory with them.
        let own = connection.renewal.hook_mut().and_then(|hook| hook.welcome.take());
        let route = &self.context.config.routes[usize::from(connection.route)];
        let frame = match (connection.is_v1(), cause) {
            (true, Cause::NewConnection) => Some(self.welcome(key, outcomes)),
            (true, Cause::Client(id)) => Some(outbound::joined(Some(id), outcomes, None)),
            (true, Cause::Server(reason)) => Some(outbound::joined(None, outcomes, Some(reason))),
            (false, Cause::NewConnection) => own.or_else(|| route.welcome.clone()),
            (false, Cause::Client(_) | Cause::Server(_)) => None,
        };
        if let Some(frame) = frame {
            self.connections.answer(key, frame, self.context);
        }
    }

    fn welcome(&self, key: ConnectionKey, groups: &[JoinOutcome]) -> Frame {
        let connection = &self.connections[key];
        let settings = &self.context.config.connection;
        let left = connection.identity.expires_at.saturating_sub(self.context.clock.unix());
        outbound::welcome(&Welcome {
            connection: connection.id,
            ping_ms: settings.ping.as_millis() as u64,
            max_bytes: settings.max_frame_bytes,
            frames: (settings.frames_per_second, settings.frame_burst),
            // An identity that the gateway renews does not expire for the client.
            expires_in: match connection.renewal {
                Renewal::Token { .. } => Some(left),
                Renewal::Hook(_) => None,
            },
            retry_ms: self.context.config.retry_window.as_millis() as u64,
            groups,
        })
    }

    /// Sends the replay, then what was held back and is newer; then the member is live.
    fn recover(&mut self, key: ConnectionKey, group: GroupKey, recovery: Recovery) {
        // A group named twice in one answer is recovered once.
        if !self.joins.is_awaiting(key, Some(group)) {
            return;
        }
        self.context.metrics().joins.increment(1);
        let buffer = self.joins.end(key, Some(group));
        let answered = recovery.position;
        self.let_through(key, group, answered.as_ref());
        for publication in recovery.replay {
            self.delivery().deliver_to(key, Some(group), publication, true);
        }
        self.deliver_buffer(key, Some(group), buffer, answered.as_ref());
    }

    /// Makes the member live, immediately or once live publications have passed the answered
    /// position.
    fn let_through(&mut self, key: ConnectionKey, group: GroupKey, answered: Option<&Position>) {
        let Some(held) = self.groups.get(group) else { return };
        if let Some(position) = answered.filter(|position| !held.has_reached(position)) {
            let awaits = |other| other == key || self.joins.is_awaiting(other, Some(group));
            let is_first = |member: &GroupMember| member.is_joining && awaits(member.connection);
            if !held.members().iter().all(is_first) {
                return self.joins.catch_up(key, group, position.clone());
            }
            self.groups.reach(group, position);
        }
        self.groups.let_through(self.connections, key, group);
    }

    fn deliver_buffer(
        &mut self,
        key: ConnectionKey,
        group: Option<GroupKey>,
        mut buffer: JoinBuffer,
        answered: Option<&Position>,
    ) {
        let mut reached = answered.cloned();
        for publication in std::mem::take(&mut buffer.publications) {
            if !is_newer(&publication, reached.as_ref()) {
                continue;
            }
            let position = publication.position.clone();
            let hole = reached.as_ref().zip(position.as_ref()).and_then(|(a, b)| missing(a, b));
            if let Some(gap) = hole {
                self.delivery().notify_gap(key, group, gap, &Dropped::default());
            }
            reached = position.or(reached);
            self.delivery().deliver_to(key, group, publication, false);
        }
        if buffer.possible_gap {
            self.delivery().notify_gap(key, group, POSSIBLE_GAP, &Dropped::default());
        }
        let gap = match (buffer.missed(answered), group) {
            (Some(Notice::Gap(gap)), _) => gap,
            (Some(Notice::Position(position)), Some(group)) => {
                return self.delivery().notify_position(key, group, &position);
            }
            (Some(Notice::Position(_)), None) | (None, _) => return,
        };
        match self.groups.limits_of(group).overflow {
            Overflow::Close => {
                return self.connections.close(key, Disconnect::SLOW, self.context);
            }
            // The buffer has kept the oldest whatever the policy, so the newest are missing.
            Overflow::DropOldest | Overflow::DropNewest | Overflow::Latest => {}
        }
        let lost = Dropped { capacity: gap.lost.unwrap_or_default(), ..Dropped::default() };
        self.delivery().notify_gap(key, group, gap, &lost);
    }
}
