//! The batch of one turn: each publication framed once, each receiver a link of eight bytes.
//!
//! A turn takes what waits in the inbox, links every receiver to the frames it gets, then writes
//! each touched socket once. Nothing here is allocated per receiver once the vectors have grown.

use std::sync::Arc;

use super::members::{GroupKey, SeatKey};
use crate::event::{Publication, Target};
use crate::frame::Frame;
use crate::protocol::{Encoding, Shape, outbound};
use crate::socket::Limits;

/// End of a chain of links.
const NONE: u32 = u32::MAX;

/// Publications that one turn takes at most, so that reading and pings get their share.
pub(super) const MAX_PUBLICATIONS: usize = 64;

/// Bytes of events that one turn takes at most; the 65th small event or the fifth large one waits.
pub(super) const MAX_BYTES: usize = 256 * 1024;

/// Links after which a turn takes no more publications: 512 KiB of links.
pub(super) const MAX_LINKS: usize = 64 * 1024;

/// Everything that one turn delivers.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) items: Vec<TurnItem>,
    pub(super) frames: Vec<Framed>,
    links: Vec<Link>,
    /// Connections with links, in order of their first.
    pub(super) touched: Vec<SeatKey>,
    pub(super) bytes: usize,
}

/// One publication of the turn.
pub(super) struct TurnItem {
    pub(super) publication: Arc<Publication>,
    /// The group that it came by; `None` = another target.
    pub(super) group: Option<GroupKey>,
    pub(super) limits: Limits,
    /// Whether it is told again to one who missed it: its age counts from now.
    pub(super) replay: bool,
    /// Connections that it was linked to.
    pub(super) receivers: u64,
    /// Which frame each encoding in use got; `None` = the route does not list the event.
    encodings: Vec<(Encoding, Option<u32>)>,
}

/// One encoding of one publication.
pub(super) struct Framed {
    pub(super) frame: Frame,
    pub(super) item: u32,
}

/// One receiver of one frame.
struct Link {
    frame: u32,
    next: u32,
}

/// A seat's chain of links in this turn; empty between turns.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameChain {
    first: u32,
    last: u32,
}

impl Default for FrameChain {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl FrameChain {
    pub(super) fn is_empty(self) -> bool {
        self.first == NONE
    }

    pub(super) fn is_single(self) -> bool {
        self.first == self.last && !self.is_empty()
    }
}

impl Turn {
    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= MAX_PUBLICATIONS
            || self.bytes >= MAX_BYTES
            || self.links.len() >= MAX_LINKS
    }

    /// Adds a publication; its index.
    pub(super) fn add(
        &mut self,
        publication: Arc<Publication>,
        group: Option<GroupKey>,
        limits: Limits,
        replay: bool,
    ) -> u32 {
        self.bytes += publication.event.json().len();
        let encodings = Vec::new();
        self.items.push(TurnItem { publication, group, limits, replay, receivers: 0, encodings });
        (self.items.len() - 1) as u32
    }

    /// The frame of `item` for `encoding`, made at its first use; `None` = not listed there.
    pub(super) fn frame(&mut self, item: u32, encoding: Encoding, shapes: &[Shape]) -> Option<u32> {
        let known = &self.items[item as usize];
        if let Some((_, frame)) = known.encodings.iter().find(|(known, _)| *known == encoding) {
            return *frame;
        }
        let made = encode(&known.publication, encoding, shapes).map(|frame| {
            self.frames.push(Framed { frame, item });
            (self.frames.len() - 1) as u32
        });
        self.items[item as usize].encodings.push((encoding, made));
        made
    }

    /// Appends `frame` to what `seat` gets in this turn.
    pub(super) fn link(&mut self, seat: SeatKey, chain: &mut FrameChain, frame: u32) {
        let item = self.frames[frame as usize].item;
        self.items[item as usize].receivers += 1;
        let link = self.links.len() as u32;
        self.links.push(Link { frame, next: NONE });
        if chain.is_empty() {
            chain.first = link;
            self.touched.push(seat);
        } else {
            self.links[chain.last as usize].next = link;
        }
        chain.last = link;
    }

    /// The first link of `chain`: its frame, and the rest of the chain.
    pub(super) fn split(&self, chain: FrameChain) -> Option<(u32, FrameChain)> {
        let link = self.links.get(chain.first as usize)?;
        let rest = match link.next {
            NONE => FrameChain::default(),
            next => FrameChain { first: next, last: chain.last },
        };
        Some((link.frame, rest))
    }

    /// Forgets the turn, keeping room for the next, but not for the largest there ever was.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.frames.clear();
        self.links.clear();
        self.touched.clear();
        self.items.shrink_to(2 * MAX_PUBLICATIONS);
        self.frames.shrink_to(4 * MAX_PUBLICATIONS);
        self.links.shrink_to(MAX_LINKS);
        self.touched.shrink_to(MAX_LINKS);
        self.bytes = 0;
    }
}

fn encode(publication: &Publication, encoding: Encoding, shapes: &[Shape]) -> Option<Frame> {
    match encoding {
        Encoding::V1 => {
            let group = match &publication.target {
                Target::Group(group) => Some(group),
                Target::User(_) | Target::Connection(_) | Target::All => None,
            };
            Some(outbound::event(group, publication))
        }
        Encoding::Plain(route) => shapes[usize::from(route)].encode(&publication.event),
    }
}
