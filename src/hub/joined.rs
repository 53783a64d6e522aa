//! The layer's answer to a join: what is told, what is replayed, from where on it is live.

use std::sync::Arc;

use super::command::{Cause, Joined};
use super::connections::Phase;
use super::gaps::{FEARED, missing};
use super::join_buffer::{ADDRESSED, Waiting, is_newer};
use super::members::{GroupKey, SeatKey};
use super::report::Dropped;
use super::shard::Shard;
use crate::event::{Position, Publication, Recovery};
use crate::frame::Frame;
use crate::group::GroupName;
use crate::protocol::outbound::{self, Held, JoinOutcome, Welcome};
use crate::protocol::{Code, Disconnect, Refusal};
use crate::socket::{Limits, Overflow};

impl Shard {
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
            standings.push(JoinOutcome { group: name.as_str().into(), outcome });
        }
        // By rising place, so each stands where it was asked for.
        for (place, standing) in joined.refused {
            standings.insert(place.min(standings.len()), standing);
        }
        if joined.cause == Cause::NewConnection {
            if unavailable && !self.seats[key].is_v1() {
                // A plain client cannot be told, and without its groups it is deaf.
                return self.close(key, Disconnect::UNAVAILABLE);
            }
            self.open(key);
        }
        self.notify_joined(key, joined.cause, &standings);
        for (group, recovery) in recovered {
            self.catch_up(key, group, recovery);
        }
        if joined.cause == Cause::NewConnection {
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
            (_, outcome) => outcome.map(|recovery| {
                // The layer may be ahead of what this connection has been sent.
                let reached = self.groups.get(group).reached.as_ref();
                let stands = self.holds.behind(key, group).or(reached).cloned();
                Held { position: stands.or(recovery.position), recovered: None }
            }),
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

    fn notify_joined(&mut self, key: SeatKey, cause: Cause, standings: &[JoinOutcome]) {
        let seat = &mut self.seats[key];
        let v1 = seat.is_v1();
        // Taken from those that are not shown it, too: it would be kept with them for ever.
        let own = seat.vouched.as_mut().and_then(|vouched| vouched.welcome.take());
        if v1 {
            let frame = match cause {
                Cause::NewConnection => self.welcome(key, standings),
                Cause::Client(id) => outbound::joined(Some(id), standings, None),
                Cause::Server(reason) => outbound::joined(None, standings, Some(reason)),
            };
            self.answer(key, frame);
        } else if cause == Cause::NewConnection {
            let route = &self.blueprint.routes[usize::from(self.seats[key].route)];
            if let Some(welcome) = own.or_else(|| route.welcome.clone()) {
                self.answer(key, welcome);
            }
        }
    }

    fn welcome(&self, key: SeatKey, groups: &[JoinOutcome]) -> Frame {
        let seat = &self.seats[key];
        let settings = &self.blueprint.connection;
        outbound::welcome(&Welcome {
            connection: seat.id,
            ping_ms: settings.ping.as_millis() as u64,
            max_bytes: settings.max_frame_bytes,
            // What the gateway renews by itself does not run out for the client.
            expires_in: (seat.vouched.is_none())
                .then(|| seat.identity.expires_at.saturating_sub(self.clock.unix())),
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
        let mut stands = answered.cloned();
        for publication in std::mem::take(&mut waiting.publications) {
            if !is_newer(&publication, stands.as_ref()) {
                continue;
            }
            let position = publication.position.clone();
            let hole = stands.as_ref().zip(position.as_ref()).and_then(|(a, b)| missing(a, b));
            if let Some(gap) = hole {
                self.notify_gap(key, group, gap, Dropped::default());
            }
            stands = position.or(stands);
            self.deliver_to(key, group, publication, false);
        }
        if waiting.doubtful {
            self.notify_gap(key, group, FEARED, Dropped::default());
        }
        let Some(gap) = waiting.gap(answered) else { return };
        if self.limits_of(group).overflow == Overflow::Close {
            return self.close(key, Disconnect::SLOW);
        }
        let lost = Dropped { capacity: gap.lost.unwrap_or_default(), ..Dropped::default() };
        self.notify_gap(key, group, gap, lost);
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
        let item = self.turn.add(publication, group, self.limits_of(group), replay);
        self.link(key, item);
        if let Some(group) = group {
            self.groups.get_mut(group).sent += self.turn.items[item as usize].receivers;
        }
    }

    fn limits_of(&self, group: Option<GroupKey>) -> Limits {
        group.map_or_else(Limits::default, |group| self.groups.get(group).limits)
    }
}
