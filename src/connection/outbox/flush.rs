//! Emptying an outbox into a socket: batches of borrowed frames, one vectored write each.

use std::io::{self, ErrorKind, IoSlice};

use crate::frame::Frame;
use crate::protocol::outbound::{Gap, GapReason};

use super::queue::Item;
use super::{Head, Millis, Outbox, Source};

/// Most frames of one write: their slices lie on the stack, 1 KiB. Sixteen already share a write's
/// cost so well that more changes little.
const BATCH_FRAMES: usize = 64;

/// Bytes after which a write takes no further frame: several times what a socket takes at once.
const BATCH_BYTES: usize = 256 * 1024;

/// What a flush did.
#[derive(Debug)]
pub struct Flushed {
    /// Events of which the last byte was written, by source.
    pub delivered: Vec<(Source, u32)>,
    /// Write calls.
    pub writes: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Events that had waited too long, by source. Allocates only if there are any.
    pub expired: Vec<(Source, u32)>,
    /// Why it ended.
    pub outcome: Outcome,
}

/// Why a flush ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything is written.
    Empty,
    /// The socket takes no more until it is writable again.
    Blocked,
    /// The socket is broken, or took nothing without saying why ([`ErrorKind::WriteZero`]).
    Failed(io::Error),
}

impl Outbox {
    /// Writes until everything is written or the socket takes no more.
    ///
    /// `write` is a vectored write that never blocks. `render` makes the frame of a gap; it is asked
    /// again if the gap grows before it is written.
    pub fn flush(
        &mut self,
        now: Millis,
        mut render: impl FnMut(Source, &Gap) -> Frame,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Flushed {
        let mut done = Flushed {
            delivered: Vec::new(),
            writes: 0,
            bytes: 0,
            expired: Vec::new(),
            outcome: Outcome::Empty,
        };
        loop {
            self.expire(now, &mut done.expired);
            if self.is_empty() {
                return done;
            }
            self.render_marks(&mut render);
            done.writes += 1;
            match self.write_batch(&mut write) {
                Ok(0) => done.outcome = Outcome::Failed(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    done.bytes += written as u64;
                    self.advance(written, &mut done.delivered);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    done.outcome = Outcome::Blocked;
                }
                Err(error) => done.outcome = Outcome::Failed(error),
            }
            return done;
        }
    }

    /// Loses the expired among the events that the next batch can reach.
    ///
    /// Their marks may exceed the lane by less than a batch: each takes the place of an event, so
    /// nothing grows, and they are the first to be written.
    fn expire(&mut self, now: Millis, expired: &mut Vec<(Source, u32)>) {
        let mut next = self.queue.front();
        let mut reached = 0;
        while let Some(key) = next
            && reached < BATCH_FRAMES
        {
            let (source, item) = self.queue.get(key);
            if !matches!(item, Item::Event(entry) if entry.expires <= now) {
                reached += 1;
                next = self.queue.behind(key);
                continue;
            }
            next = self.lose(key, GapReason::Expired);
            count_one(expired, source);
        }
    }

    fn render_marks(&mut self, render: &mut impl FnMut(Source, &Gap) -> Frame) {
        if self.queue.marks() == 0 {
            return;
        }
        let mut next = self.queue.front();
        for _ in 0..BATCH_FRAMES {
            let Some(key) = next else { return };
            next = self.queue.behind(key);
            let (source, _) = self.queue.get(key);
            if let Some(mark) = self.queue.as_mark_mut(key) {
                mark.frame.get_or_insert_with(|| render(source, &mark.gap));
            }
        }
    }

    /// One write of what comes first.
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

    /// Drops what was written, counting the events that were finished.
    fn advance(&mut self, mut written: usize, delivered: &mut Vec<(Source, u32)>) {
        while written > 0 {
            let head = match self.head.take() {
                Some(head) => head,
                None => self.pop_frame().expect("no more is written than waits"),
            };
            let left = head.frame.len() - head.written;
            if written < left {
                self.head = Some(Head { written: head.written + written, ..head });
                return;
            }
            written -= left;
            if let Some(source) = head.event_of {
                count_one(delivered, source);
            }
        }
    }

    fn pop_frame(&mut self) -> Option<Head> {
        if let Some(answer) = self.answers.pop_front() {
            self.answer_bytes -= answer.len();
            return Some(Head { frame: answer, written: 0, event_of: None });
        }
        let (event_of, frame) = self.queue.pop_frame()?;
        Some(Head { frame, written: 0, event_of })
    }
}

/// Counts one more of `source`; a handful of sources at most, so a list beats a map.
fn count_one(counts: &mut Vec<(Source, u32)>, source: Source) {
    match counts.iter_mut().find(|(of, _)| *of == source) {
        Some((_, count)) => *count += 1,
        None => counts.push((source, 1)),
    }
}
