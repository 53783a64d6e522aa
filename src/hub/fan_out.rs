//! From a publication to its receivers: each is linked to its frame, or it waits, or it is too late.

use std::sync::Arc;

use super::connections::Phase;
use super::join_buffer::{ADDRESSED, BufferOutcome};
use super::members::{GroupKey, SeatKey};
use super::report::Dropped;
use super::shard::Shard;
use crate::event::{Member, Publication, Target};
use crate::protocol::outbound::{Gap, GapReason};
use crate::socket::Limits;
use crate::telemetry::DropReason;

impl Shard {
    /// Step six of the walk: links every receiver of `publication` to its frame.
    pub(super) fn fan_out(&mut self, publication: Arc<Publication>) {
        match &publication.target {
            Target::Group(name) => {
                if let Some(group) = self.groups.find(name) {
                    self.fan_out_to_group(group, publication);
                }
            }
            Target::User(sub) => {
                let seats = self.seats.of_user(sub).collect::<Vec<_>>();
                self.fan_out_to_seats(&seats, publication);
            }
            Target::Connection(id) => {
                let seats = self.seats.find(*id).filter(|_| id.instance == self.instance);
                self.fan_out_to_seats(seats.as_slice(), publication);
            }
            Target::All => {
                let seats = self.seats.keys().collect::<Vec<_>>();
                self.fan_out_to_seats(&seats, publication);
            }
        }
    }

    fn fan_out_to_group(&mut self, key: GroupKey, publication: Arc<Publication>) {
        let group = self.groups.get(key);
        // What the layer says twice, or an answered position has covered, is old to the settled.
        let old = publication.position.as_ref().is_some_and(|own| group.has_reached(own));
        if !old && let Some(position) = &publication.position {
            self.notify_hole(key, position);
            // Telling may have ended the last membership.
            let Some(group) = self.groups.try_get_mut(key) else { return };
            group.reached = Some(position.clone());
        }
        let limits = self.groups.get(key).limits;
        let over = self.is_over(&publication);
        let everybody = publication.except.is_empty();
        let item = self.turn.add(Arc::clone(&publication), Some(key), limits, false);
        let max_bytes = self.blueprint.connection.outbox_bytes;
        let mut unlisted = 0;
        let (mut settled, mut late) = (Vec::new(), Vec::new());
        for member in &self.groups.get(key).members {
            let seat = &mut self.seats[member.seat];
            if !everybody && publication.except.holds(seat.id, &seat.identity.sub) {
                continue;
            }
            if member.pending {
                let bound = (limits.capacity, max_bytes);
                if self.holds.meet(member.seat, key, &publication, bound) == BufferOutcome::Held {
                    continue;
                }
                settled.push(member.seat);
            } else if old {
                continue;
            }
            if over {
                late.push(member.seat);
                continue;
            }
            match self.turn.frame(item, seat.encoding, &self.blueprint.shapes) {
                Some(frame) => self.turn.link(member.seat, &mut seat.chain, frame),
                None => unlisted += 1,
            }
        }
        for seat in settled {
            self.groups.settle(&self.seats, seat, key);
        }
        let group = self.groups.get_mut(key);
        group.sent += self.turn.items[item as usize].receivers;
        if unlisted > 0 {
            group.dropped.unlisted += unlisted;
            self.blueprint.metrics.dropped.of(DropReason::Unlisted).increment(unlisted);
        }
        for seat in late {
            self.expire(seat, Some(key), &publication);
        }
    }

    /// Whether nobody may have `publication` any more.
    pub(super) fn is_over(&self, publication: &Publication) -> bool {
        publication.deadline.is_some_and(|deadline| deadline <= self.clock.now)
    }

    /// Tells a seat, at its place, of a publication that came too late.
    pub(super) fn expire(
        &mut self,
        key: SeatKey,
        group: Option<GroupKey>,
        publication: &Publication,
    ) {
        let range = publication.position.clone().map(|position| {
            let last = position.offset;
            (position, last)
        });
        let gap = Gap { reason: GapReason::Expired, lost: Some(1), range, possible: false };
        self.notify_gap(key, group, gap, Dropped { expired: 1, ..Dropped::default() });
    }

    /// For targets that are no group; such publications have limits of their own.
    fn fan_out_to_seats(&mut self, seats: &[SeatKey], publication: Arc<Publication>) {
        let limits = Limits::default();
        let bound = (limits.capacity, self.blueprint.connection.outbox_bytes);
        let item = self.turn.add(Arc::clone(&publication), None, limits, false);
        for key in seats {
            let Some(seat) = self.seats.get(*key).filter(|seat| !seat.is_closing()) else {
                continue;
            };
            if publication.except.holds(seat.id, &seat.identity.sub) {
                continue;
            }
            if seat.phase == Phase::Arriving {
                self.holds.meet(*key, ADDRESSED, &publication, bound);
            } else if self.is_over(&publication) {
                self.expire(*key, None, &publication);
            } else {
                self.link(*key, item);
            }
        }
    }

    /// Links one seat to a publication of this turn.
    pub(super) fn link(&mut self, key: SeatKey, item: u32) {
        let seat = &mut self.seats[key];
        match self.turn.frame(item, seat.encoding, &self.blueprint.shapes) {
            Some(frame) => self.turn.link(key, &mut seat.chain, frame),
            None => self.count(key, None, Dropped { unlisted: 1, ..Dropped::default() }),
        }
    }

    /// The seats here that a back end means.
    pub(super) fn seats_of(&self, member: &Member) -> Vec<SeatKey> {
        match member {
            Member::User(sub) => self.seats.of_user(sub).collect(),
            Member::Connection(id) if id.instance == self.instance => {
                self.seats.find(*id).into_iter().collect()
            }
            Member::Connection(_) => Vec::new(),
        }
    }
}
