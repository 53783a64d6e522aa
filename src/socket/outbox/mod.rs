//! The bounded queue of one connection, which exists only while its socket does not keep up.
//!
//! Pure: time, socket and settings are arguments, losses are return values. What leaves first:
//! the frame that is partly written, then answers, then events in the order they came, with a
//! gap mark wherever some of a source's were lost.

mod flush;
mod gap;
mod list;
mod queue;
mod queued_event;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::event::Position;
use crate::frame::Frame;
use crate::protocol::Disconnect;
use crate::protocol::outbound::{Gap, GapReason, Notice};

use super::{Limits, Overflow};

pub use flush::Flushed;
use gap::{Mark, gap_of};
use list::NodeKey;
use queue::{OutboxItem, Queue};
pub use queued_event::{Millis, QueuedEvent, Source};

/// Most answers and gap marks that wait together.
///
/// Both are owed to the client and cannot be dropped, so a client that does not fetch this many is
/// closed. A browser has a handful of requests open; marks of one group merge.
const LANE: usize = 64;

/// What becomes of losses, by protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapPolicy {
    /// The client is sent a `gap` at the place of the loss: `groupcast.v1.json`.
    Notify,
    /// They are counted only: the plain protocol has no frame for them.
    Count,
}

/// Events lost by one push, all of the source that was pushed to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// For [`Limits::capacity`].
    pub capacity: u32,
    /// For the bytes that an outbox may hold.
    pub bytes: u32,
}

/// What waits for one connection.
#[derive(Debug)]
pub struct Outbox {
    /// Partly written: must be finished before anything else, is never dropped.
    head: Option<Head>,
    answers: VecDeque<Frame>,
    answer_bytes: usize,
    queue: Queue,
    /// Events found expired and not reported yet.
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

/// What a frame is to those who count.
#[derive(Debug, Clone, Copy)]
enum FrameKind {
    Answer,
    Event,
    Gap,
}

/// The bound that an arriving event runs into.
enum Bound {
    Capacity,
    Bytes,
}

impl Outbox {
    /// An empty outbox that holds events of at most `max_bytes` and as much again of answers.
    ///
    /// Answers have bytes of their own, or a feed that fills its share would close the connection
    /// by the next answer.
    pub fn new(max_bytes: usize, gaps: GapPolicy) -> Self {
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

    /// Takes over an event's frame of which the socket took the first `written` bytes only.
    ///
    /// For an outbox made because a direct write was cut short; nothing may be partly written yet.
    pub fn put_back(&mut self, frame: Frame, written: usize) {
        debug_assert!(self.head.is_none(), "two frames partly written");
        debug_assert!(written < frame.len(), "nothing left of the frame");
        self.head = Some(Head { frame, written, kind: FrameKind::Event });
    }

    /// Queues an event of `source`, and says which events were lost for it.
    ///
    /// [`Overflow::DropOldest`] makes room by the oldest waiting events of the same source. If not
    /// even all of them would make room (other sources hold the bytes), only the arriving one is
    /// lost: losing the others too would help nobody.
    ///
    /// # Errors
    /// [`Disconnect::SLOW`] by [`Overflow::Close`], or if a new mark finds the lane full. The
    /// outbox is then only good for [`Outbox::finish`].
    pub fn push(
        &mut self,
        source: Source,
        event: QueuedEvent,
        limits: &Limits,
    ) -> Result<Lost, Disconnect> {
        let mut lost = Lost::default();
        while let Some(bound) = self.bound(source, event.frame.len(), limits) {
            let oldest = match limits.overflow {
                Overflow::Close => return Err(Disconnect::SLOW),
                Overflow::DropNewest => None,
                Overflow::DropOldest if self.can_fit(source, event.frame.len()) => {
                    self.queue.oldest_event(source)
                }
                Overflow::DropOldest => None,
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

    /// Notes, behind all that waits, that publications of `source` were missed: the layer's losses
    /// and, by [`Outbox::push`], the outbox's own. Nothing for plain connections.
    ///
    /// # Errors
    /// [`Disconnect::SLOW`] if it takes a new mark and the lane is full.
    pub fn mark(&mut self, source: Source, gap: Gap) -> Result<(), Disconnect> {
        if self.gaps == GapPolicy::Count {
            return Ok(());
        }
        self.merge_or_push(source, Notice::Gap(gap))
    }

    /// Notes, behind all that waits, that `position` of `source` is not for this client. Nothing
    /// for plain connections.
    ///
    /// Where it would take a new mark and the lane is full, the client is left to take the offset
    /// that skips for a gap: closing it for what it need not have would be worse.
    pub fn mark_position(&mut self, source: Source, position: Position) {
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

    /// Queues an answer, a ping or a pong: ahead of all events, behind a partly written frame.
    ///
    /// # Errors
    /// [`Disconnect::SLOW`] if 64 answers and marks wait, or answers of `max_bytes`.
    pub fn push_answer(&mut self, frame: Frame) -> Result<(), Disconnect> {
        self.check_lane()?;
        // Checked before the frame is counted: one large answer must reach a reader of any speed.
        if self.answer_bytes >= self.max_bytes {
            return Err(Disconnect::SLOW);
        }
        self.answer_bytes += frame.len();
        self.answers.push_back(frame);
        Ok(())
    }

    /// Drops what waits of a source that the connection has left; no event may follow its `left`.
    ///
    /// Returns how many events that were.
    pub fn forget(&mut self, source: Source) -> u32 {
        self.queue.forget(source)
    }

    /// Drops all that waits and puts `frame`, the close, in its place: nothing may follow it.
    pub fn finish(&mut self, frame: Frame) {
        self.queue = Queue::default();
        self.answers.clear();
        self.answer_bytes = frame.len();
        self.answers.push_back(frame);
    }

    /// Events of `source` that wait.
    pub fn waiting(&self, source: Source) -> u32 {
        self.queue.waiting(source)
    }

    /// The events that are lost if the connection ends now, by source, perhaps in several parts.
    ///
    /// One that is partly written is not among them: the peer may yet get the rest.
    pub fn backlog(&self) -> impl Iterator<Item = (Source, u32)> {
        self.queue.backlog().chain(self.expired.iter().copied())
    }

    /// Frames to be written: events, answers, marks, and one partly written.
    pub fn len(&self) -> usize {
        usize::from(self.head.is_some()) + self.answers.len() + self.queue.len()
    }

    /// Bytes of frames held, marks apart.
    pub fn bytes(&self) -> usize {
        self.head_bytes() + self.answer_bytes + self.queue.bytes()
    }

    /// Whether there is nothing to write: the connection drops the outbox then.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn head_bytes(&self) -> usize {
        self.head.as_ref().map_or(0, |head| head.frame.len())
    }

    /// The bound that keeps `len` more bytes of `source` out, if one does.
    fn bound(&self, source: Source, len: usize, limits: &Limits) -> Option<Bound> {
        if self.queue.waiting(source) >= limits.capacity {
            return Some(Bound::Capacity);
        }
        (self.head_bytes() + self.queue.bytes() + len > self.max_bytes).then_some(Bound::Bytes)
    }

    /// Whether there are bytes for `len` more if nothing of `source` waits.
    fn can_fit(&self, source: Source, len: usize) -> bool {
        let others = self.queue.bytes() - self.queue.bytes_of(source);
        self.head_bytes() + others + len <= self.max_bytes
    }

    fn check_lane(&self) -> Result<(), Disconnect> {
        if self.answers.len() + self.queue.marks() >= LANE { Err(Disconnect::SLOW) } else { Ok(()) }
    }

    /// Takes a waiting event out and leaves a mark if the client is notified. Returns what now
    /// stands in its place.
    fn lose(&mut self, key: NodeKey, reason: GapReason) -> Option<NodeKey> {
        match self.gaps {
            GapPolicy::Notify => self.queue.turn_into_mark(key, reason),
            GapPolicy::Count => {
                let next = self.queue.behind(key);
                self.queue.remove(key);
                next
            }
        }
    }
}
