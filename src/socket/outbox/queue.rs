//! The queue of events and marks: one list of all, and one per source through the same nodes.
//!
//! Losses remove the oldest event of a source from between those of others, so lists are relinked.
//! A ring buffer would have to move, or keep holes in, up to the whole queue for each loss, just
//! when a reader is slow.

use std::iter;

use slab::Slab;

use super::gap::{Mark, first_of};
use super::list::{Ends, Links, NodeKey, append, unlink};
use super::{QueuedEvent, Source};
use crate::event::{CollapseKey, Position};
use crate::frame::Frame;
use crate::protocol::outbound::Notice;

/// One queued item.
#[derive(Debug)]
pub(super) enum OutboxItem {
    Event(QueuedEvent),
    /// Boxed: marks are few and larger than events.
    Mark(Box<Mark>),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    nodes: Slab<Node>,
    all: Ends,
    /// The sources with queued items: usually one or two, at most 128, so searched linearly.
    lines: Vec<Line>,
    bytes: usize,
    marks: usize,
}

#[derive(Debug)]
struct Node {
    item: OutboxItem,
    source: Source,
    in_all: Links,
    in_line: Links,
}

/// The items of one source, oldest first; never empty.
#[derive(Debug)]
struct Line {
    source: Source,
    ends: Ends,
    events: u32,
    bytes: usize,
}

impl Queue {
    /// Appends `item`.
    pub(super) fn push(&mut self, source: Source, item: OutboxItem) {
        let at = self.lines.iter().position(|line| line.source == source).unwrap_or_else(|| {
            self.lines.push(Line { source, ends: Ends::default(), events: 0, bytes: 0 });
            self.lines.len() - 1
        });
        let line = &mut self.lines[at];
        match &item {
            OutboxItem::Event(event) => {
                line.events += 1;
                line.bytes += event.frame.len();
                self.bytes += event.frame.len();
            }
            OutboxItem::Mark(_) => self.marks += 1,
        }
        let node = Node { item, source, in_all: Links::default(), in_line: Links::default() };
        let key = NodeKey::new(self.nodes.insert(node));
        append(&mut self.nodes, &mut self.all, key, |node| &mut node.in_all);
        append(&mut self.nodes, &mut line.ends, key, |node| &mut node.in_line);
    }

    /// Removes the item at `key`.
    pub(super) fn remove(&mut self, key: NodeKey) -> OutboxItem {
        self.uncount_event(key);
        unlink(&mut self.nodes, &mut self.all, key, |node| &mut node.in_all);
        let at = self.line_at(key);
        let line = &mut self.lines[at];
        unlink(&mut self.nodes, &mut line.ends, key, |node| &mut node.in_line);
        if line.ends.front.is_none() {
            self.lines.swap_remove(at);
        }
        let item = self.nodes.remove(key.index()).item;
        self.marks -= usize::from(matches!(item, OutboxItem::Mark(_)));
        item
    }

    /// Whether losing the event at `key` needs a new mark, since no adjacent one fits.
    pub(super) fn needs_mark(&self, key: NodeKey) -> bool {
        let OutboxItem::Event(event) = &self.node(key).item else { return false };
        let links = self.node(key).in_line;
        let adjoins = |beside: Option<NodeKey>| {
            beside
                .and_then(|key| self.as_mark(key))
                .is_some_and(|mark| mark.adjoins(event.position.as_ref()))
        };
        !adjoins(links.ahead) && !adjoins(links.behind)
    }

    /// The position of the event at `key`.
    pub(super) fn position(&self, key: NodeKey) -> Option<Position> {
        match &self.node(key).item {
            OutboxItem::Event(event) => event.position.clone(),
            OutboxItem::Mark(_) => None,
        }
    }

    /// Replaces the event at `key` by a notice about it, or merges that into adjacent marks.
    /// Returns the item that is now next in the order of all.
    pub(super) fn turn_into_mark(&mut self, key: NodeKey, notice: Notice) -> Option<NodeKey> {
        let OutboxItem::Event(event) = &self.node(key).item else { return Some(key) };
        let position = event.position.clone();
        let mut mark = Mark::new(notice);

        let Links { ahead, behind } = self.node(key).in_line;
        if let Some(newer) = behind
            && self.as_mark(newer).is_some_and(|newer| newer.adjoins(position.as_ref()))
            && let OutboxItem::Mark(newer) = self.remove(newer)
        {
            mark.absorb(newer.notice);
        }
        if let Some(older) = ahead.and_then(|older| self.as_mark_mut(older))
            && older.adjoins(position.as_ref())
        {
            older.absorb(mark.notice);
            let next = self.behind(key);
            self.remove(key);
            return next;
        }
        self.uncount_event(key);
        self.marks += 1;
        self.node_mut(key).item = OutboxItem::Mark(Box::new(mark));
        Some(key)
    }

    /// Drops all items of `source`. Returns how many events.
    pub(super) fn forget(&mut self, source: Source) -> u32 {
        let events = self.waiting(source);
        while let Some(line) = self.line(source)
            && let Some(front) = line.ends.front
        {
            self.remove(front);
        }
        events
    }

    /// Removes the first item.
    pub(super) fn pop(&mut self) -> Option<OutboxItem> {
        self.all.front.map(|front| self.remove(front))
    }

    /// The frames in order, up to the first mark whose frame has not been made.
    pub(super) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let keys = iter::successors(self.all.front, |key| self.behind(*key));
        keys.map_while(|key| match &self.node(key).item {
            OutboxItem::Event(event) => Some(event.frame.bytes()),
            OutboxItem::Mark(mark) => mark.frame.as_ref().map(Frame::bytes),
        })
    }

    /// The last item of `source`, if it is a mark that `notice` can be merged into.
    pub(super) fn newest_mark(&mut self, source: Source, notice: &Notice) -> Option<&mut Mark> {
        let newest = self.line(source)?.ends.back?;
        self.as_mark_mut(newest).filter(|mark| mark.adjoins(first_of(notice)))
    }

    /// The oldest event of `source`.
    pub(super) fn oldest_event(&self, source: Source) -> Option<NodeKey> {
        let mut next = self.line(source)?.ends.front;
        // At most one mark per epoch precedes it.
        while let Some(key) = next {
            if let OutboxItem::Event(_) = self.node(key).item {
                break;
            }
            next = self.node(key).in_line.behind;
        }
        next
    }

    /// The event of `source` with this key. There is at most one: a newer one replaces it.
    pub(super) fn event_with(&self, source: Source, key: CollapseKey) -> Option<NodeKey> {
        let front = self.line(source)?.ends.front;
        let mut keys = iter::successors(front, |key| self.node(*key).in_line.behind);
        keys.find(|at| match &self.node(*at).item {
            OutboxItem::Event(event) => event.collapse == Some(key),
            OutboxItem::Mark(_) => false,
        })
    }

    /// The first position among the items of `source`.
    pub(super) fn first_position(&self, source: Source) -> Option<&Position> {
        let front = self.line(source)?.ends.front;
        let mut keys = iter::successors(front, |key| self.node(*key).in_line.behind);
        keys.find_map(|key| match &self.node(key).item {
            OutboxItem::Event(event) => event.position.as_ref(),
            OutboxItem::Mark(mark) => first_of(&mark.notice),
        })
    }

    /// The first item.
    pub(super) fn front(&self) -> Option<NodeKey> {
        self.all.front
    }

    /// The item after `key`, of any source.
    pub(super) fn behind(&self, key: NodeKey) -> Option<NodeKey> {
        self.node(key).in_all.behind
    }

    /// The item at `key`, and its source.
    pub(super) fn get(&self, key: NodeKey) -> (Source, &OutboxItem) {
        let node = self.node(key);
        (node.source, &node.item)
    }

    /// The mark at `key`, if that is one.
    pub(super) fn as_mark_mut(&mut self, key: NodeKey) -> Option<&mut Mark> {
        match &mut self.node_mut(key).item {
            OutboxItem::Mark(mark) => Some(mark),
            OutboxItem::Event(_) => None,
        }
    }

    /// Queued events of `source`.
    pub(super) fn waiting(&self, source: Source) -> u32 {
        self.line(source).map_or(0, |line| line.events)
    }

    /// Bytes of the queued events of `source`.
    pub(super) fn bytes_of(&self, source: Source) -> usize {
        self.line(source).map_or(0, |line| line.bytes)
    }

    /// The sources with queued events, and how many.
    pub(super) fn backlog(&self) -> impl Iterator<Item = (Source, u32)> {
        self.lines.iter().filter(|line| line.events > 0).map(|line| (line.source, line.events))
    }

    /// Events and marks.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes of all queued events.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Marks of all sources.
    pub(super) fn marks(&self) -> usize {
        self.marks
    }

    fn as_mark(&self, key: NodeKey) -> Option<&Mark> {
        match &self.node(key).item {
            OutboxItem::Mark(mark) => Some(mark),
            OutboxItem::Event(_) => None,
        }
    }

    /// Counts the event at `key` out, if it is one.
    fn uncount_event(&mut self, key: NodeKey) {
        let OutboxItem::Event(event) = &self.node(key).item else { return };
        let (len, at) = (event.frame.len(), self.line_at(key));
        self.lines[at].events -= 1;
        self.lines[at].bytes -= len;
        self.bytes -= len;
    }

    fn line(&self, source: Source) -> Option<&Line> {
        self.lines.iter().find(|line| line.source == source)
    }

    fn line_at(&self, key: NodeKey) -> usize {
        let source = self.node(key).source;
        let at = self.lines.iter().position(|line| line.source == source);
        at.expect("what waits has a line")
    }

    fn node(&self, key: NodeKey) -> &Node {
        &self.nodes[key.index()]
    }

    fn node_mut(&mut self, key: NodeKey) -> &mut Node {
        &mut self.nodes[key.index()]
    }
}
