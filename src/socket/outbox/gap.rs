//! Marks: the places in a queue where events of one source were lost, merged where they meet.

use crate::event::Position;
use crate::frame::Frame;
use crate::protocol::outbound::{Gap, GapReason};

/// A gap that waits to be told.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) gap: Gap,
    /// Its frame, once a flush got this far. Made anew if the gap grows before it is written.
    pub(super) frame: Option<Frame>,
}

/// The gap that the loss of one event leaves.
pub(super) fn gap_of(position: Option<Position>, reason: GapReason) -> Gap {
    let range = position.map(|position| {
        let last = position.offset;
        (position, last)
    });
    Gap { reason, lost: Some(1), range, possible: false }
}

impl Mark {
    pub(super) fn new(gap: Gap) -> Self {
        Self { gap, frame: None }
    }

    /// Whether a neighbour can be told as one with the loss at `next`: offsets of two epochs can't be.
    pub(super) fn meets(&self, next: Option<&Position>) -> bool {
        let own = self.gap.range.as_ref().map(|(first, _)| &first.epoch);
        own == next.map(|position| &position.epoch)
    }

    /// Extends this gap by the one that follows it. The first reason stands.
    pub(super) fn absorb(&mut self, newer: Gap) {
        let gap = &mut self.gap;
        gap.lost = gap.lost.zip(newer.lost).map(|(older, newer)| older + newer);
        if let (Some((_, last)), Some((_, newer_last))) = (&mut gap.range, newer.range) {
            *last = newer_last;
        }
        // Something certainly missed makes the whole certain.
        gap.possible &= newer.possible;
        self.frame = None;
    }
}
