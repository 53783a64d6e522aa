//! Writes linked frames to sockets, queues what a socket does not take, counts losses.

use std::io::{ErrorKind, IoSlice};

use super::Delivery;
use crate::event::Position;
use crate::hub::report::Dropped;
use crate::hub::store::{ConnectionKey, FrameChain, GroupKey, Turn};
use crate::protocol::Disconnect;
use crate::protocol::outbound::{self, Gap, Notice};
use crate::socket::{Lost, QueuedEvent, Source};
use crate::telemetry::Metrics;

/// Frames that one vectored write carries at most: 1 KiB of slices on the stack.
const MAX_SLICES: usize = 64;

impl Delivery<'_> {
    /// Step seven of the walk: writes what was queued for a connection, then the frames of this
    /// turn.
    ///
    /// Also called before a membership ends, so that earlier frames precede the `left`.
    pub(in crate::hub) fn write_out(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key).filter(|it| !it.is_gone()) else {
            return;
        };
        let chain = std::mem::take(&mut connection.chain);
        let Ok(left) = self.write_chain(key, chain) else {
            return self.connections.abandon(key);
        };
        if let Err(disconnect) = self.queue_chain(key, left) {
            return self.connections.close(key, disconnect, self.context);
        }
        self.flush(key);
    }

    /// Writes the frames of `chain` from the batch; the rest goes to the outbox.
    fn write_chain(
        &mut self,
        key: ConnectionKey,
        mut chain: FrameChain,
    ) -> std::io::Result<FrameChain> {
        while !chain.is_empty() && self.connections[key].socket.is_clear() {
            // Most turns have one frame for a connection; a kilobyte of slices would cost as much
            // as the rest of its delivery.
            let left = match chain.is_single() {
                true => self.write_frames::<1>(key, chain),
                false => self.write_frames::<MAX_SLICES>(key, chain),
            };
            chain = match left {
                Ok(left) => left,
                Err(error) => {
                    self.connections[key].chain = chain;
                    return Err(error);
                }
            };
        }
        Ok(chain)
    }

    /// Writes up to `N` frames of `chain` with one call. Returns the rest of the chain.
    fn write_frames<const N: usize>(
        &mut self,
        key: ConnectionKey,
        mut chain: FrameChain,
    ) -> std::io::Result<FrameChain> {
        let mut slices = [IoSlice::new(&[]); N];
        let (mut count, mut rest) = (0, chain);
        while count < N
            && let Some((frame, after)) = self.turn.split(rest)
        {
            slices[count] = IoSlice::new(self.turn.framed(frame).0.bytes());
            count += 1;
            rest = after;
        }
        let connection = &mut self.connections[key];
        let mut written = match connection.socket.write(&slices[..count]) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(chain),
            Err(error) => return Err(error),
        };
        self.turn.tally.writes += 1;
        self.turn.tally.bytes += written as u64;
        for _ in 0..count {
            let Some((frame, after)) = self.turn.split(chain) else { break };
            let (frame, _) = self.turn.framed(frame);
            if written < frame.len() {
                if written > 0 {
                    connection.socket.put_back(frame.clone(), written);
                    chain = after;
                }
                return Ok(chain);
            }
            written -= frame.len();
            connection.sent += 1;
            self.turn.tally.deliveries += 1;
            chain = after;
        }
        Ok(chain)
    }

    /// Moves what a socket did not take into the outbox, within its bounds.
    fn queue_chain(&mut self, key: ConnectionKey, mut chain: FrameChain) -> Result<(), Disconnect> {
        while let Some((frame, rest)) = self.turn.split(chain) {
            let (frame, item) = self.turn.framed(frame);
            let clock = &self.context.clock;
            let since = if item.replay { clock.now() } else { item.publication.accepted };
            let by_age = since + item.limits.expiry;
            let expires = item.publication.deadline.map_or(by_age, |deadline| deadline.min(by_age));
            let event = QueuedEvent {
                frame: frame.clone(),
                expires: clock.millis_at(expires),
                position: item.publication.position.clone(),
                collapse: item.collapse_key(),
            };
            let (group, limits) = (item.group, item.limits);
            let connection = &mut self.connections[key];
            let lost = match connection.socket.queue(source_of(group), event, &limits) {
                Ok(lost) => lost,
                Err(disconnect) => {
                    // Lost with the connection, and counted with it.
                    connection.chain = chain;
                    return Err(disconnect);
                }
            };
            chain = rest;
            if lost != Lost::default() {
                let dropped = Dropped {
                    capacity: lost.capacity.into(),
                    bytes: lost.bytes.into(),
                    superseded: lost.superseded.into(),
                    ..Dropped::default()
                };
                self.count(key, group, &dropped);
            }
        }
        Ok(())
    }

    /// Writes a connection's outbox until the socket takes no more.
    fn flush(&mut self, key: ConnectionKey) {
        let connection = &mut self.connections[key];
        if !connection.socket.has_waiting() {
            return self.connections.finish_closing(key);
        }
        // Only now: the usual delivery has an empty outbox and needs no clock.
        let now = self.context.clock.millis();
        let groups = &*self.groups;
        let render = |source: Source, notice: &Notice| {
            let group = group_of(source).and_then(|key| groups.get(key));
            outbound::notice(group.map(|group| &group.name), notice)
        };
        let flushed = match connection.socket.flush(now, render) {
            Ok(Some(flushed)) => flushed,
            Ok(None) => return self.connections.recount(key),
            Err(_) => return self.connections.abandon(key),
        };
        connection.sent += flushed.events;
        self.connections.recount(key);
        self.turn.tally.deliveries += flushed.events;
        self.turn.tally.writes += flushed.writes;
        self.turn.tally.bytes += flushed.bytes;
        self.context.metrics().gaps.increment(flushed.gaps);
        for (source, events) in flushed.expired {
            let dropped = Dropped { expired: events.into(), ..Dropped::default() };
            self.count(key, group_of(source), &dropped);
        }
        self.connections.finish_closing(key);
    }

    /// Counts a loss, and queues its gap after what the connection has so far.
    pub(in crate::hub) fn notify_gap(
        &mut self,
        key: ConnectionKey,
        group: Option<GroupKey>,
        gap: Gap,
        lost: &Dropped,
    ) {
        // Linked frames precede the gap; otherwise adjacent gaps are merged.
        if self.connections.get(key).is_some_and(|it| !it.chain.is_empty()) {
            self.write_out(key);
        }
        if !self.connections.is_open(key) {
            return;
        }
        self.count(key, group, lost);
        let groups = &*self.groups;
        let name = |key| groups.get(key).map(|group| group.name.clone());
        let second = self.context.clock.second();
        self.connections.recent_loss((key, group), name, second).gap = Some(gap.clone());
        match self.connections[key].socket.mark(source_of(group), gap) {
            Ok(()) => self.connections.write_later(key),
            Err(disconnect) => self.connections.close(key, disconnect, self.context),
        }
    }

    /// Queues the mark of a position that is not for this connection, after what it has so far.
    pub(in crate::hub) fn notify_position(
        &mut self,
        key: ConnectionKey,
        group: GroupKey,
        position: &Position,
    ) {
        if self.connections.get(key).is_some_and(|it| !it.chain.is_empty()) {
            self.write_out(key);
        }
        if self.connections.is_open(key) && self.connections[key].is_v1() {
            let source = source_of(Some(group));
            self.connections[key].socket.mark_position(source, position.clone());
            self.connections.write_later(key);
        }
    }
}

/// Ends the turn's batch, and records the latency of each publication until it was written.
pub(in crate::hub) fn finish_turn(turn: &mut Turn, metrics: &Metrics) {
    if turn.items().is_empty() {
        return;
    }
    let now = std::time::Instant::now();
    for item in turn.items() {
        if item.receivers == 0 || item.replay {
            continue;
        }
        let under_way = now.saturating_duration_since(item.publication.accepted);
        metrics.publish_to_write.record(under_way);
    }
    turn.clear();
}

/// The outbox's source for a group, or for other targets.
pub(in crate::hub) fn source_of(group: Option<GroupKey>) -> Source {
    group.map_or(Source::NONE, |key| Source(key.to_bits()))
}

/// The group that the outbox knows as `source`.
pub(in crate::hub) fn group_of(source: Source) -> Option<GroupKey> {
    (source != Source::NONE).then(|| GroupKey::from_bits(source.0))
}
