//! The bounded queue of one connection, which exists only while its socket does not keep up.
//!
//! Pure: time, socket and settings are arguments, losses are return values. Order of output: the
//! partly written frame, then answers, then events in order of arrival, with a gap mark in place of
//! lost ones.

mod flush;
mod gap;
mod list;
mod queue;
mod queued_event;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::event::{CollapseKey, Position};
use crate::frame::Frame;
use crate::protocol::Disconnect;
use crate::protocol::outbound::{Gap, GapReason, Notice};

use super::{Limits, Overflow};

pub(crate) use flush::Flushed;
use gap::{Mark, gap_of};
use list::NodeKey;
use queue::{OutboxItem, Queue};
pub(crate) use queued_event::{Millis, QueuedEvent, Source};

/// The most queued answers and gap marks.
///
/// Neither can be dropped, so a client that does not read this many is closed. Browsers have a
/// handful of requests in flight, and marks of one group are merged.
const LANE: usize = 64;

/// How losses are handled, by protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GapPolicy {
    /// The client is sent a `gap` at the place of the loss: `groupcast.v1.json`.
    Notify,
    /// They are only counted: the plain protocol has no frame for them.
    Count,
}

/// Events lost by one push, all of the pushed source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// By [`Limits::capacity`].
    pub capacity: u32,
    /// By the byte limit of the outbox.
    pub bytes: u32,
    /// By a newer event of a group that keeps only the latest. The client misses nothing.
    pub superseded: u32,
}

/// The queue of one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Partly written: must be finished before anything else, is never dropped.
    head: Option<Head>,
    answers: VecDeque<Frame>,
    answer_bytes: usize,
    queue: Queue,
    /// Expired events that are not reported yet.
    expired: Vec<(Source, u32)>,
    gaps: GapPolicy,
    max_bytes: usize,
}

#[derive(Debug)]
struct Head {
    frame: Frame,
    written: usize,
    kind: FrameKind,
}

/// The kind of a frame, for counting.
#[derive(Debug, Clone, Copy)]
enum FrameKind {
    Answer,
    Event,
    Gap,
}

/// The limit that an arriving event exceeds.
enum Bound {
    Capacity,
    Bytes,
}

impl Outbox {
    /// An empty outbox that holds events of at most `max_bytes` and as much again of answers.
    ///
    /// Answers have a separate byte limit: otherwise the next answer would close a connection whose
    /// feed has filled the outbox.
    pub(crate) fn new(max_bytes: usize, gaps: GapPolicy) -> Self {
        Self {
            head: None,
            answers: VecDeque::new(),
            answer_bytes: 0,
            queue: Queue::default(),
            expired: Vec::new(),
            gaps,
            max_bytes,
        }
    }

    /// Takes over an event's frame, of which the first `written` bytes were written.
    ///
    /// For a new outbox after a partial direct write; no other frame may be partly written.
    pub(crate) fn put_back(&mut self, frame: Frame, written: usize) {
        debug_assert!(self.head.is_none(), "two frames partly written");
        debug_assert!(written < frame.len(), "nothing left of the frame");
        self.head = Some(Head { frame, written, kind: FrameKind::Event });
    }

    /// Queues an event of `source`. Returns the events lost for it.
    ///
    /// [`Overflow::DropOldest`] drops the oldest queued events of the same source. If dropping all
    /// of them would not make room (other sources use the bytes), only the arriving one is dropped.
    /// [`Overflow::Latest`] does the same, after it has replaced the one with the same key, whether
    /// or not there is room.
    ///
    /// # Errors
    /// [`Disconnect::SLOW`] by [`Overflow::Close`], or if a new mark finds the lane full.
    /// Only [`Outbox::finish`] may be called then.
    pub(crate) fn push(
        &mut self,
        source: Source,
        event: QueuedEvent,
        limits: &Limits,
    ) -> Result<Lost, Disconnect> {
        let mut lost = Lost::default();
        if let (Overflow::Latest, Some(key)) = (limits.overflow, event.collapse) {
            lost.superseded = self.supersede(source, key);
        }
        while let Some(bound) = self.bound(source, event.frame.len(), limits) {
            let oldest = match limits.overflow {
                Overflow::Close => return Err(Disconnect::SLOW),
                Overflow::DropNewest => None,
                Overflow::DropOldest | Overflow::Latest => self
                    .can_fit(source, event.frame.len())
                    .then(|| self.queue.oldest_event(source))
                    .flatten(),
            };
            match bound {
                Bound::Capacity => lost.capacity += 1,
                Bound::Bytes => lost.bytes += 1,
            }
            let Some(oldest) = oldest else {
                self.mark(source, gap_of(event.position, GapReason::Slow))?;
                return Ok(lost);
            };
            if self.gaps == GapPolicy::Notify && self.queue.needs_mark(oldest) {
                self.check_lane()?;
            }
            self.lose(oldest, GapReason::Slow);
        }
        self.queue.push(source, OutboxItem::Event(event));
        Ok(lost)
    }

    /// Drops the queued event of `source` that a newer one replaces; its position stays, in its
    /// place. Returns how many there were.
    fn supersede(&mut self, source: Source, key: CollapseKey) -> u32 {
        let Some(older) = self.queue.event_with(source, key) else { return 0 };
        let position = self.queue.position(older).filter(|_| self.gaps == GapPolicy::Notify);
        match position.map(Notice::Position) {
            // Without room for a mark, the client takes the skipped offset for a gap.
            Some(notice) if !self.queue.needs_mark(older) || self.check_lane().is_ok() => {
                self.queue.turn_into_mark(older, notice);
            }
            Some(_) | None => drop(self.queue.remove(older)),
        }
        1
    }

    /// Queues a gap of `source`: for losses of the layer and, by [`Outbox::push`], of the outbox.
    /// Does nothing for plain connections.
    ///
    /// # Errors
    /// [`Disconnect::SLOW`] if it takes a new mark and the lane is full.
    pub(crate) fn mark(&mut self, source: Source, gap: Gap) -> Result<(), Disconnect> {
        if self.gaps == GapPolicy::Count {
            return Ok(());
        }
        self.merge_or_push(source, Notice::Gap(gap))
    }

    /// Queues the mark that `position` of `source` is not for this client. Does nothing for plain
    /// connections.
    ///
    /// If it needs a new mark and the lane is full, the mark is omitted, and the client takes the
    /// skipped offset for a gap. Closing the connection would be worse.
    pub(crate) fn mark_position(&mut self, source: Source, position: Position) {
        if self.gaps == GapPolicy::Notify {
            let _ = self.merge_or_push(source, Notice::Position(position));
        }
    }

    fn merge_or_push(&mut self, source: Source, notice: Notice) -> Result<(), Disconnect> {
        if let Some(mark) = self.queue.newest_mark(source, &notice) {
            mark.absorb(notice);
            return Ok(());
        }
        self.check_lane()?;
        self.queue.push(source, OutboxItem::Mark(Box::new(Mark::new(notice))));
        Ok(())
    }

    /// Queues an answer, a ping or a pong: before all events, after a partly written frame.
    ///
    /// # Errors
    /// [`Disconnect::SLOW`] if 64 answers and marks are queued, or `max_bytes` of answers.
    pub(crate) fn push_answer(&mut self, frame: Frame) -> Result<(), Disconnect> {
        self.check_lane()?;
        // Checked before the frame is counted: a single large answer is always accepted.
        if self.answer_bytes >= self.max_bytes {
            return Err(Disconnect::SLOW);
        }
        self.answer_bytes += frame.len();
        self.answers.push_back(frame);
        Ok(())
    }

    /// Where the client is in `source`, as far as what is queued says so: just before it.
    pub(crate) fn standing(&self, source: Source) -> Option<Position> {
        let first = self.queue.first_position(source)?;
        Some(Position { offset: first.offset.saturating_sub(1), ..first.clone() })
    }

    /// Drops queued events of a source that the connection has left; no event may follow its
    /// `left`.
    ///
    /// Returns how many.
    pub(crate) fn forget(&mut self, source: Source) -> u32 {
        self.queue.forget(source)
    }

    /// Replaces everything queued by `frame`, the close: nothing may follow it.
    pub(crate) fn finish(&mut self, frame: Frame) {
        self.queue = Queue::default();
        self.answers.clear();
        self.answer_bytes = frame.len();
        self.answers.push_back(frame);
    }

    /// The events lost if the connection ends now, by source; a source may occur several times.
    ///
    /// Without a partly written one, which the peer may still receive.
    pub(crate) fn backlog(&self) -> impl Iterator<Item = (Source, u32)> {
        self.queue.backlog().chain(self.expired.iter().copied())
    }

    /// Frames to be written: events, answers, marks, and one partly written.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.head.is_some()) + self.answers.len() + self.queue.len()
    }

    /// Queued events of `source`, without a partly written one.
    pub(crate) fn waiting_of(&self, source: Source) -> u32 {
        self.queue.waiting(source)
    }

    /// Bytes of queued frames, without marks.
    pub(crate) fn bytes(&self) -> usize {
        self.head_bytes() + self.answer_bytes + self.queue.bytes()
    }

    /// Whether there is nothing to write: the connection drops the outbox then.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn head_bytes(&self) -> usize {
        self.head.as_ref().map_or(0, |head| head.frame.len())
    }

    /// The limit that `len` more bytes of `source` would exceed, if any.
    fn bound(&self, source: Source, len: usize, limits: &Limits) -> Option<Bound> {
        if self.queue.waiting(source) >= limits.capacity {
            return Some(Bound::Capacity);
        }
        (self.head_bytes() + self.queue.bytes() + len > self.max_bytes).then_some(Bound::Bytes)
    }

    /// Whether `len` more bytes fit if all events of `source` are dropped.
    fn can_fit(&self, source: Source, len: usize) -> bool {
        let others = self.queue.bytes() - self.queue.bytes_of(source);
        self.head_bytes() + others + len <= self.max_bytes
    }

    fn check_lane(&self) -> Result<(), Disconnect> {
        if self.answers.len() + self.queue.marks() >= LANE { Err(Disconnect::SLOW) } else { Ok(()) }
    }

    /// Drops a queued event, and leaves a mark if the client is notified. Returns the next entry.
    fn lose(&mut self, key: NodeKey, reason: GapReason) -> Option<NodeKey> {
        match self.gaps {
            GapPolicy::Notify => {
                let gap = gap_of(self.queue.position(key), reason);
                self.queue.turn_into_mark(key, Notice::Gap(gap))
            }
            GapPolicy::Count => {
                let next = self.queue.behind(key);
                self.queue.remove(key);
                next
            }
        }
    }
}
