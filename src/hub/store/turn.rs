//! The batch of one turn: a frame per publication, a link of eight bytes per receiver.
//!
//! A turn takes what waits in the inbox, links every receiver to the frames it gets, then writes
//! each touched socket once. Nothing here is allocated per receiver once the vectors have grown.

use std::cell::OnceCell;
use std::sync::Arc;

use super::keys::{ConnectionKey, GroupKey};
use crate::event::{CollapseKey, Publication, Target};
use crate::frame::Frame;
use crate::protocol::{Encoding, Shape, outbound};
use crate::socket::{Limits, Overflow};

/// End of a chain of links.
const NONE: u32 = u32::MAX;

/// The most publications of one turn, so that reads and pings are not starved.
pub(in crate::hub) const MAX_PUBLICATIONS: usize = 64;

/// The most bytes of events in one turn; the 65th small event or the fifth large one waits.
pub(in crate::hub) const MAX_BYTES: usize = 256 * 1024;

/// Links after which a turn takes no more publications: 512 KiB of links.
pub(in crate::hub) const MAX_LINKS: usize = 64 * 1024;

/// Everything that one turn delivers.
#[derive(Default)]
pub(in crate::hub) struct Turn {
    items: Vec<TurnItem>,
    frames: Vec<Framed>,
    links: Vec<Link>,
    /// Connections with links, in order of their first.
    touched: Vec<ConnectionKey>,
    bytes: usize,
    pub(in crate::hub) tally: Tally,
}

/// The counts of a turn, added to the metrics at its end.
#[derive(Default)]
pub(in crate::hub) struct Tally {
    pub(in crate::hub) deliveries: u64,
    pub(in crate::hub) writes: u64,
    pub(in crate::hub) bytes: u64,
}

/// One publication of the turn.
pub(in crate::hub) struct TurnItem {
    pub(in crate::hub) publication: Arc<Publication>,
    /// Its group; `None` = another target.
    pub(in crate::hub) group: Option<GroupKey>,
    pub(in crate::hub) limits: Limits,
    /// Whether it is a replay, whose age counts from now.
    pub(in crate::hub) replay: bool,
    /// Connections that it was linked to.
    pub(in crate::hub) receivers: u64,
    /// Which frame each encoding in use got; `None` = the route does not list the event.
    encodings: Vec<(Encoding, Option<u32>)>,
    /// Read from the event for the first socket that does not keep up.
    collapse: OnceCell<Option<CollapseKey>>,
}

/// One encoding of one publication.
struct Framed {
    frame: Frame,
    item: u32,
}

/// One receiver of one frame.
struct Link {
    frame: u32,
    next: u32,
}

/// A connection's chain of links in this turn; empty between turns.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub) struct FrameChain {
    first: u32,
    last: u32,
}

impl Default for FrameChain {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl FrameChain {
    pub(in crate::hub) fn is_empty(self) -> bool {
        self.first == NONE
    }

    pub(in crate::hub) fn is_single(self) -> bool {
        self.first == self.last && !self.is_empty()
    }
}

impl TurnItem {
    /// What a queued event must have in common with this one to give way to it.
    pub(in crate::hub) fn collapse_key(&self) -> Option<CollapseKey> {
        match (self.limits.overflow, self.limits.collapse) {
            (Overflow::Latest, None) => Some(CollapseKey::GROUP),
            (Overflow::Latest, Some(member)) => {
                *self.collapse.get_or_init(|| CollapseKey::of(&self.publication.event, member))
            }
            (Overflow::DropOldest | Overflow::DropNewest | Overflow::Close, _) => None,
        }
    }
}

impl Turn {
    pub(in crate::hub) fn is_full(&self) -> bool {
        self.items.len() >= MAX_PUBLICATIONS
            || self.bytes >= MAX_BYTES
            || self.links.len() >= MAX_LINKS
    }

    /// Adds a publication; its index.
    pub(in crate::hub) fn add(
        &mut self,
        publication: Arc<Publication>,
        group: Option<GroupKey>,
        limits: Limits,
        replay: bool,
    ) -> u32 {
        self.bytes += publication.event.json().len();
        self.items.push(TurnItem {
            publication,
            group,
            limits,
            replay,
            receivers: 0,
            encodings: Vec::new(),
            collapse: OnceCell::new(),
        });
        (self.items.len() - 1) as u32
    }

    /// The frame of `item` for `encoding`, made at its first use; `None` = not listed there.
    pub(in crate::hub) fn frame(
        &mut self,
        item: u32,
        encoding: Encoding,
        shapes: &[Shape],
    ) -> Option<u32> {
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

    /// Appends `frame` to the chain of `connection` in this turn.
    pub(in crate::hub) fn link(
        &mut self,
        connection: ConnectionKey,
        chain: &mut FrameChain,
        frame: u32,
    ) {
        let item = self.frames[frame as usize].item;
        self.items[item as usize].receivers += 1;
        let link = self.links.len() as u32;
        self.links.push(Link { frame, next: NONE });
        if chain.is_empty() {
            chain.first = link;
            self.touched.push(connection);
        } else {
            self.links[chain.last as usize].next = link;
        }
        chain.last = link;
    }

    /// The first link of `chain`: its frame, and the rest of the chain.
    pub(in crate::hub) fn split(&self, chain: FrameChain) -> Option<(u32, FrameChain)> {
        let link = self.links.get(chain.first as usize)?;
        let rest = match link.next {
            NONE => FrameChain::default(),
            next => FrameChain { first: next, last: chain.last },
        };
        Some((link.frame, rest))
    }

    pub(in crate::hub) fn items(&self) -> &[TurnItem] {
        &self.items
    }

    /// A frame and its publication.
    pub(in crate::hub) fn framed(&self, frame: u32) -> (&Frame, &TurnItem) {
        let framed = &self.frames[frame as usize];
        (&framed.frame, &self.items[framed.item as usize])
    }

    /// Connections that a publication was linked to.
    pub(in crate::hub) fn receivers(&self, item: u32) -> u64 {
        self.items[item as usize].receivers
    }

    /// The connections with links, taken for the time of writing.
    pub(in crate::hub) fn take_touched(&mut self) -> Vec<ConnectionKey> {
        std::mem::take(&mut self.touched)
    }

    /// Returns the list of touched connections, to reuse its memory.
    pub(in crate::hub) fn give_touched(&mut self, touched: Vec<ConnectionKey>) {
        self.touched = touched;
    }

    /// Clears the turn. Keeps its memory for the next, except after a very large one.
    pub(in crate::hub) fn clear(&mut self) {
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
