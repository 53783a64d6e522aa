//! Marks: entries of a queue in place of events, for a loss or for a position that is not for this
//! connection. Adjacent marks of a source are merged.

use crate::event::Position;
use crate::frame::Frame;
use crate::protocol::outbound::{Gap, GapReason, Notice};

/// A queued notice.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) notice: Notice,
    /// Its frame, once a flush has reached it. Discarded if the notice grows before it is written.
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
    pub(super) fn new(notice: Notice) -> Self {
        Self { notice, frame: None }
    }

    /// Whether this notice can be merged with one at `next`: offsets of two epochs cannot.
    pub(super) fn adjoins(&self, next: Option<&Position>) -> bool {
        first_of(&self.notice).map(|first| &first.epoch) == next.map(|position| &position.epoch)
    }

    /// Extends this notice by the one that follows it. A gap absorbs adjacent positions: after it
    /// the client is at its last offset.
    pub(super) fn absorb(&mut self, newer: Notice) {
        self.frame = None;
        match (&mut self.notice, newer) {
            (Notice::Gap(gap), Notice::Gap(newer)) => extend(gap, newer),
            (Notice::Gap(Gap { range: Some((_, last)), .. }), Notice::Position(newer)) => {
                *last = newer.offset;
            }
            (Notice::Position(own), Notice::Gap(mut newer)) => {
                if let Some((first, _)) = &mut newer.range {
                    first.offset = own.offset;
                }
                self.notice = Notice::Gap(newer);
            }
            // A gap without a range adjoins no position.
            (Notice::Gap(_) | Notice::Position(_), newer @ Notice::Position(_)) => {
                self.notice = newer;
            }
        }
    }
}

/// The first position that a notice is about.
pub(super) fn first_of(notice: &Notice) -> Option<&Position> {
    match notice {
        Notice::Gap(gap) => gap.range.as_ref().map(|(first, _)| first),
        Notice::Position(position) => Some(position),
    }
}

/// Extends a gap by the one that follows it. The first reason is kept.
fn extend(gap: &mut Gap, newer: Gap) {
    gap.lost = gap.lost.zip(newer.lost).map(|(older, newer)| older + newer);
    if let (Some((_, last)), Some((_, newer_last))) = (&mut gap.range, newer.range) {
        *last = newer_last;
    }
    // A certain loss makes the merged gap certain.
    gap.possible &= newer.possible;
}
