//! From links to sockets: write, keep what a socket does not take, count what is lost.

use std::io::{ErrorKind, IoSlice};

use super::members::{GroupKey, SeatKey};
use super::report::Dropped;
use super::shard::Shard;
use super::turn::FrameChain;
use crate::protocol::Disconnect;
use crate::protocol::outbound::{self, Gap};
use crate::socket::{Entry, Lost, Source};

/// Frames that one vectored write carries at most: 1 KiB of slices on the stack.
const MAX_SLICES: usize = 64;

impl Shard {
    /// Step seven of the walk: writes what this turn has for a seat, and what waited before it.
    ///
    /// Also called before anything that ends a membership, so that what was linked before stands
    /// before the `left`.
    pub(super) fn write_out(&mut self, key: SeatKey) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        let chain = std::mem::take(&mut seat.chain);
        let Ok(left) = self.write_chain(key, chain) else {
            return self.drop_seat(key);
        };
        if let Err(disconnect) = self.queue_chain(key, left) {
            return self.close(key, disconnect);
        }
        self.flush(key);
    }

    /// Writes the frames of `chain` as they lie in the batch; what is left goes to the outbox.
    fn write_chain(&mut self, key: SeatKey, mut chain: FrameChain) -> std::io::Result<FrameChain> {
        while !chain.is_empty() && self.seats[key].connection.is_clear() {
            // Most turns have one frame for a seat; a kilobyte of slices would cost as much as the
            // rest of its delivery.
            let left = match chain.is_single() {
                true => self.write_frames::<1>(key, chain),
                false => self.write_frames::<MAX_SLICES>(key, chain),
            };
            chain = match left {
                Ok(left) => left,
                Err(error) => {
                    self.seats[key].chain = chain;
                    return Err(error);
                }
            };
        }
        Ok(chain)
    }

    /// Writes up to `N` frames of `chain` with one call; what is left of the chain.
    fn write_frames<const N: usize>(
        &mut self,
        key: SeatKey,
        mut chain: FrameChain,
    ) -> std::io::Result<FrameChain> {
        let mut slices = [IoSlice::new(&[]); N];
        let (mut count, mut rest) = (0, chain);
        while count < N
            && let Some((frame, after)) = self.turn.split(rest)
        {
            slices[count] = IoSlice::new(self.turn.frames[frame as usize].frame.bytes());
            count += 1;
            rest = after;
        }
        let seat = &mut self.seats[key];
        let mut written = match seat.connection.write(&slices[..count]) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(chain),
            Err(error) => return Err(error),
        };
        self.tally.writes += 1;
        self.tally.bytes += written as u64;
        for _ in 0..count {
            let Some((frame, after)) = self.turn.split(chain) else { break };
            let frame = &self.turn.frames[frame as usize].frame;
            if written < frame.len() {
                if written > 0 {
                    seat.connection.put_back(frame.clone(), written);
                    chain = after;
                }
                return Ok(chain);
            }
            written -= frame.len();
            seat.sent += 1;
            self.tally.deliveries += 1;
            chain = after;
        }
        Ok(chain)
    }

    /// Moves what a socket did not take into the outbox, within its bounds.
    fn queue_chain(&mut self, key: SeatKey, mut chain: FrameChain) -> Result<(), Disconnect> {
        while let Some((frame, rest)) = self.turn.split(chain) {
            let framed = &self.turn.frames[frame as usize];
            let item = &self.turn.items[framed.item as usize];
            let since = if item.replay { self.clock.now } else { item.publication.accepted };
            let by_age = since + item.limits.expiry;
            let expires = item.publication.deadline.map_or(by_age, |deadline| deadline.min(by_age));
            let entry = Entry {
                frame: framed.frame.clone(),
                expires: self.clock.millis_at(expires),
                position: item.publication.position.clone(),
            };
            let (group, limits) = (item.group, item.limits);
            let seat = &mut self.seats[key];
            let lost = match seat.connection.queue(source_of(group), entry, &limits) {
                Ok(lost) => lost,
                Err(disconnect) => {
                    // Lost with the connection, and counted with it.
                    seat.chain = chain;
                    return Err(disconnect);
                }
            };
            chain = rest;
            if lost != Lost::default() {
                let (capacity, bytes) = (lost.capacity.into(), lost.bytes.into());
                self.count(key, group, Dropped { capacity, bytes, ..Dropped::default() });
            }
        }
        Ok(())
    }

    /// Writes what waits in a seat's outbox, as far as the socket takes it.
    pub(super) fn flush(&mut self, key: SeatKey) {
        let Some(seat) = self.seats.get_mut(key) else { return };
        if !seat.connection.has_waiting() {
            return self.finish_closing(key);
        }
        // Not before: the usual delivery has nothing waiting and needs no clock.
        let now = self.clock.millis();
        let groups = &self.groups;
        let render = |source: Source, gap: &Gap| {
            outbound::gap(group_of(source).map(|key| &groups.get(key).name), gap)
        };
        let flushed = match seat.connection.flush(now, render) {
            Ok(Some(flushed)) => flushed,
            Ok(None) => return,
            Err(_) => return self.drop_seat(key),
        };
        seat.sent += flushed.events;
        self.tally.deliveries += flushed.events;
        self.blueprint.metrics.gaps.increment(flushed.gaps);
        self.tally.writes += flushed.writes;
        self.tally.bytes += flushed.bytes;
        for (source, events) in flushed.expired {
            let dropped = Dropped { expired: events.into(), ..Dropped::default() };
            self.count(key, group_of(source), dropped);
        }
        self.finish_closing(key);
    }

    /// Counts a loss, and tells of it behind what the seat has so far.
    pub(super) fn notify_gap(
        &mut self,
        key: SeatKey,
        group: Option<GroupKey>,
        gap: Gap,
        lost: Dropped,
    ) {
        // What is linked stands before the gap; else gaps beside each other are told as one.
        if self.seats.get(key).is_some_and(|seat| !seat.chain.is_empty()) {
            self.write_out(key);
        }
        if !self.is_open(key) {
            return;
        }
        self.count(key, group, lost);
        match self.seats[key].connection.mark(source_of(group), gap) {
            Ok(()) => self.answered.push(key),
            Err(disconnect) => self.close(key, disconnect),
        }
    }

    /// Counts publications that a seat does not get.
    pub(super) fn count(&mut self, key: SeatKey, group: Option<GroupKey>, dropped: Dropped) {
        if dropped == Dropped::default() {
            return;
        }
        self.seats[key].dropped.get_or_insert_default().add(&dropped);
        if let Some(group) = group {
            self.groups.get_mut(group).dropped.add(&dropped);
        }
        for (reason, count) in dropped.by_reason() {
            self.blueprint.metrics.dropped.of(reason).increment(count);
        }
    }

    /// Ends the turn's batch: how long was each publication under way until it was written, or as
    /// far as the sockets took it.
    pub(super) fn finish_tick(&mut self) {
        if self.turn.items.is_empty() {
            return;
        }
        let now = std::time::Instant::now();
        for item in &self.turn.items {
            if item.receivers == 0 || item.replay {
                continue;
            }
            let under_way = now.saturating_duration_since(item.publication.accepted);
            self.blueprint.metrics.publish_to_write.record(under_way);
        }
        self.turn.clear();
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
