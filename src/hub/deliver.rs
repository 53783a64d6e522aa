//! From a publication to its receivers' sockets: link, write, keep what a socket does not take.

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use super::members::{GroupKey, SeatKey};
use super::report::Dropped;
use super::shard::Shard;
use super::tick::Chain;
use crate::connection::{Entry, Limits, Lost, Source};
use crate::event::{Member, Publication, Target};
use crate::protocol::{Disconnect, outbound};
use crate::telemetry::DropReason;

/// Frames that one vectored write carries at most: 1 KiB of slices on the stack.
const MAX_SLICES: usize = 64;

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
        let group = self.groups.get_mut(key);
        if let Some(position) = &publication.position {
            group.last_offset = Some(position.offset);
        }
        let limits = group.limits;
        let everybody = publication.except.is_empty();
        let item = self.tick.add(Arc::clone(&publication), Some(key), limits);
        let mut unlisted = 0;
        for member in &self.groups.get(key).members {
            let seat = &mut self.seats[member.seat];
            if !everybody && publication.except.holds(seat.id, &seat.identity.sub) {
                continue;
            }
            if member.pending {
                self.holds.keep(member.seat, key, &publication, limits.capacity);
                continue;
            }
            match self.tick.frame(item, seat.encoding, &self.blueprint.shapes) {
                Some(frame) => self.tick.link(member.seat, &mut seat.chain, frame),
                None => unlisted += 1,
            }
        }
        if unlisted > 0 {
            self.groups.get_mut(key).dropped.unlisted += unlisted;
            self.blueprint.metrics.dropped.of(DropReason::Unlisted).increment(unlisted);
        }
    }

    /// For targets that are no group; such publications have limits of their own.
    fn fan_out_to_seats(&mut self, seats: &[SeatKey], publication: Arc<Publication>) {
        let item = self.tick.add(Arc::clone(&publication), None, Limits::default());
        for key in seats {
            let seat = &self.seats[*key];
            if seat.is_closing() || publication.except.holds(seat.id, &seat.identity.sub) {
                continue;
            }
            self.link(*key, item);
        }
    }

    /// Links one seat to a publication of this turn.
    pub(super) fn link(&mut self, key: SeatKey, item: u32) {
        let seat = &mut self.seats[key];
        match self.tick.frame(item, seat.encoding, &self.blueprint.shapes) {
            Some(frame) => self.tick.link(key, &mut seat.chain, frame),
            None => self.count(key, None, Dropped { unlisted: 1, ..Dropped::default() }),
        }
    }

    /// Step seven of the walk: writes what this turn has for a seat, and what waited before it.
    ///
    /// Also called before anything that ends a membership, so that what was linked before stands
    /// before the `left`.
    pub(super) fn write_out(&mut self, key: SeatKey) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        let mut chain = std::mem::take(&mut seat.chain);
        if seat.connection.is_clear() {
            match self.write_chain(key, chain) {
                Ok(rest) => chain = rest,
                Err(_) => return self.drop_seat(key),
            }
        }
        if let Err(disconnect) = self.queue_chain(key, chain) {
            return self.close(key, disconnect);
        }
        self.flush(key);
    }

    /// Writes the frames of `chain` as they lie in the batch; what is left goes to the outbox.
    fn write_chain(&mut self, key: SeatKey, mut chain: Chain) -> std::io::Result<Chain> {
        let seat = &mut self.seats[key];
        while !chain.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let (mut count, mut rest) = (0, chain);
            while let Some((frame, after)) = self.tick.split(rest) {
                if count == MAX_SLICES {
                    break;
                }
                slices[count] = IoSlice::new(self.tick.frames[frame as usize].frame.bytes());
                count += 1;
                rest = after;
            }
            let mut written = match seat.connection.write(&slices[..count]) {
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(chain),
                Err(error) => return Err(error),
            };
            self.tally.writes += 1;
            self.tally.bytes += written as u64;
            for _ in 0..count {
                let Some((frame, after)) = self.tick.split(chain) else { break };
                let framed = &self.tick.frames[frame as usize];
                if written < framed.frame.len() {
                    if written > 0 {
                        seat.connection.put_back(framed.frame.clone(), written);
                        chain = after;
                    }
                    return Ok(chain);
                }
                written -= framed.frame.len();
                seat.sent += 1;
                self.tally.deliveries += 1;
                chain = after;
            }
        }
        Ok(chain)
    }

    /// Moves what a socket did not take into the outbox, within its bounds.
    fn queue_chain(&mut self, key: SeatKey, mut chain: Chain) -> Result<(), Disconnect> {
        while let Some((frame, rest)) = self.tick.split(chain) {
            chain = rest;
            let framed = &self.tick.frames[frame as usize];
            let item = &self.tick.items[framed.item as usize];
            let by_age = item.publication.accepted + item.limits.expiry;
            let expires = item.publication.deadline.map_or(by_age, |deadline| deadline.min(by_age));
            let entry = Entry {
                frame: framed.frame.clone(),
                expires: self.clock.millis_at(expires),
                position: item.publication.position.clone(),
            };
            let (group, limits) = (item.group, item.limits);
            let lost = self.seats[key].connection.queue(source_of(group), entry, &limits)?;
            if lost != Lost::default() {
                let (capacity, bytes) = (lost.capacity.into(), lost.bytes.into());
                self.count(key, group, Dropped { capacity, bytes, ..Dropped::default() });
            }
        }
        Ok(())
    }

    /// Writes what waits in a seat's outbox, as far as the socket takes it.
    pub(super) fn flush(&mut self, key: SeatKey) {
        let now = self.clock.millis();
        let Some(seat) = self.seats.get_mut(key) else { return };
        if !seat.connection.has_waiting() {
            return self.finish_closing(key);
        }
        let groups = &self.groups;
        let render = |source: Source, gap: &outbound::Gap| {
            outbound::gap(group_of(source).map(|group| &groups.get(group).name), gap)
        };
        let flushed = match seat.connection.flush(now, render) {
            Ok(Some(flushed)) => flushed,
            Ok(None) => return,
            Err(_) => return self.drop_seat(key),
        };
        seat.sent += flushed.events;
        self.tally.deliveries += flushed.events;
        self.tally.writes += flushed.writes;
        self.tally.bytes += flushed.bytes;
        for (source, events) in flushed.expired {
            let dropped = Dropped { expired: events.into(), ..Dropped::default() };
            self.count(key, group_of(source), dropped);
        }
        self.finish_closing(key);
    }

    /// Counts publications that a seat does not get.
    pub(super) fn count(&mut self, key: SeatKey, group: Option<GroupKey>, dropped: Dropped) {
        self.seats[key].dropped.get_or_insert_default().add(&dropped);
        if let Some(group) = group {
            self.groups.get_mut(group).dropped.add(&dropped);
        }
        for (reason, count) in dropped.by_reason() {
            self.blueprint.metrics.dropped.of(reason).increment(count);
        }
    }

    /// Ends the turn's batch: counts per group, and how long each publication was under way.
    pub(super) fn finish_tick(&mut self) {
        if self.tick.items.is_empty() {
            return;
        }
        let now = std::time::Instant::now();
        for item in &self.tick.items {
            if item.receivers == 0 {
                continue;
            }
            if let Some(group) = item.group.and_then(|group| self.groups.try_get_mut(group)) {
                group.sent += item.receivers;
            }
            let under_way = now.saturating_duration_since(item.publication.accepted);
            self.blueprint.metrics.publish_to_write.record(under_way);
        }
        self.tick.clear();
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

/// How the outbox knows a group, or the targets that are none.
fn source_of(group: Option<GroupKey>) -> Source {
    group.map_or(Source::NONE, Source)
}

/// The group that the outbox knows as `source`.
pub(super) fn group_of(source: Source) -> Option<GroupKey> {
    (source != Source::NONE).then_some(source.0)
}
