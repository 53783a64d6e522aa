//! Writes an outbox to a socket: batches of borrowed frames, one vectored write each.

use std::io::{self, ErrorKind, IoSlice};
use std::mem;

use crate::frame::Frame;
use crate::protocol::outbound::{GapReason, Notice};

use super::queue::OutboxItem;
use super::{FrameKind, Head, Millis, Outbox, Source};

/// The most frames of one write: 1 KiB of slices on the stack. More than sixteen change the cost of
/// a write per frame only little.
const BATCH_FRAMES: usize = 64;

/// Bytes after which no further frame is added to a write: several times what a socket takes.
const BATCH_BYTES: usize = 256 * 1024;

/// The outcome of a flush.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flushed {
    /// Events written completely, without answers and gaps.
    pub events: u64,
    /// Gaps written completely.
    pub gaps: u64,
    /// Bytes written, of frames of every kind.
    pub bytes: u64,
    /// Writes of which the socket took at least a byte.
    pub writes: u64,
    /// Expired events, by source. Allocates only if there are any.
    pub expired: Vec<(Source, u32)>,
}

impl Outbox {
    /// Writes until everything is written ([`Outbox::is_empty`]) or the socket takes no more.
    ///
    /// `write` is a vectored write that never blocks. `render` makes the frame of a notice; it is
    /// called again if the notice grows before it is written.
    ///
    /// # Errors
    /// Those of `write`, except that it would block; [`ErrorKind::WriteZero`] if it takes
    /// nothing without an error. Expired events stay in [`Outbox::backlog`] then.
    pub(crate) fn flush(
        &mut self,
        now: Millis,
        mut render: impl FnMut(Source, &Notice) -> Frame,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<Flushed> {
        let mut done = Flushed::default();
        loop {
            self.expire(now);
            if self.is_empty() {
                break;
            }
            self.render_marks(&mut render);
            match self.write_batch(&mut write) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    done.writes += 1;
                    done.bytes += written as u64;
                    self.advance(written, &mut done);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        done.expired = mem::take(&mut self.expired);
        Ok(done)
    }

    /// Drops the expired events within reach of the next batch.
    ///
    /// Their marks may exceed the lane by less than a batch: each replaces an event, so the queue
    /// does not grow, and they are written first.
    fn expire(&mut self, now: Millis) {
        let mut next = self.queue.front();
        let mut reached = 0;
        while let Some(key) = next
            && reached < BATCH_FRAMES
        {
            let (source, item) = self.queue.get(key);
            if !matches!(item, OutboxItem::Event(event) if event.expires <= now) {
                reached += 1;
                next = self.queue.behind(key);
                continue;
            }
            next = self.lose(key, GapReason::Expired);
            match self.expired.iter_mut().find(|(of, _)| *of == source) {
                Some((_, events)) => *events += 1,
                None => self.expired.push((source, 1)),
            }
        }
    }

    fn render_marks(&mut self, render: &mut impl FnMut(Source, &Notice) -> Frame) {
        if self.queue.marks() == 0 {
            return;
        }
        let mut next = self.queue.front();
        for _ in 0..BATCH_FRAMES {
            let Some(key) = next else { return };
            next = self.queue.behind(key);
            let (source, _) = self.queue.get(key);
            if let Some(mark) = self.queue.as_mark_mut(key) {
                mark.frame.get_or_insert_with(|| render(source, &mark.notice));
            }
        }
    }

    /// Writes the next batch.
    fn write_batch(
        &self,
        write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let head = self.head.iter().map(|head| &head.frame.bytes()[head.written..]);
        let answers = self.answers.iter().map(Frame::bytes);
        let mut slices = [IoSlice::new(&[]); BATCH_FRAMES];
        let (mut frames, mut bytes) = (0, 0);
        for frame in head.chain(answers).chain(self.queue.frames()).take(BATCH_FRAMES) {
            slices[frames] = IoSlice::new(frame);
            frames += 1;
            bytes += frame.len();
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        write(&slices[..frames])
    }

    /// Removes what was written, and counts completed frames.
    fn advance(&mut self, mut written: usize, done: &mut Flushed) {
        while written > 0 {
            let head = self.head.take().unwrap_or_else(|| self.pop());
            let left = head.frame.len() - head.written;
            if written < left {
                self.head = Some(Head { written: head.written + written, ..head });
                break;
            }
            written -= left;
            match head.kind {
                FrameKind::Answer => {}
                FrameKind::Event => done.events += 1,
                FrameKind::Gap => done.gaps += 1,
            }
        }
    }

    /// Takes the frame after the head.
    fn pop(&mut self) -> Head {
        if let Some(frame) = self.answers.pop_front() {
            self.answer_bytes -= frame.len();
            return Head { frame, written: 0, kind: FrameKind::Answer };
        }
        let (frame, kind) = match self.queue.pop() {
            Some(OutboxItem::Event(event)) => (Some(event.frame), FrameKind::Event),
            Some(OutboxItem::Mark(mark)) => {
                let kind = match mark.notice {
                    Notice::Gap(_) => FrameKind::Gap,
                    Notice::Position(_) => FrameKind::Answer,
                };
                (mark.frame, kind)
            }
            None => (None, FrameKind::Answer),
        };
        Head { frame: frame.expect("only what waits is written"), written: 0, kind }
    }
}
