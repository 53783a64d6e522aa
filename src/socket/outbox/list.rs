//! Doubly linked lists through the nodes of one slab; a node may be in several.

use std::num::NonZeroU32;

use slab::Slab;

/// A node, valid until it is removed.
///
/// 32 bits, never zero, halve the links twice against `Option<usize>`: a full queue of a thousand
/// small events is mostly links. What bounds a queue, bytes, lies far below their range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeKey(NonZeroU32);

/// A node's neighbours in one list.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Links {
    pub(super) ahead: Option<NodeKey>,
    pub(super) behind: Option<NodeKey>,
}

/// One list.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ends {
    pub(super) front: Option<NodeKey>,
    pub(super) back: Option<NodeKey>,
}

impl NodeKey {
    pub(super) fn new(index: usize) -> Self {
        let key = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        Self(key.expect("a queue is bounded far below 2^32 items"))
    }

    pub(super) fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Appends the node `key`, which must not be in such a list.
pub(super) fn append<T>(
    nodes: &mut Slab<T>,
    list: &mut Ends,
    key: NodeKey,
    links: impl Fn(&mut T) -> &mut Links,
) {
    let ahead = list.back.replace(key);
    *links(&mut nodes[key.index()]) = Links { ahead, behind: None };
    match ahead {
        Some(ahead) => links(&mut nodes[ahead.index()]).behind = Some(key),
        None => list.front = Some(key),
    }
}

/// Removes the node `key` from a list.
pub(super) fn unlink<T>(
    nodes: &mut Slab<T>,
    list: &mut Ends,
    key: NodeKey,
    links: impl Fn(&mut T) -> &mut Links,
) {
    let Links { ahead, behind } = *links(&mut nodes[key.index()]);
    match ahead {
        Some(ahead) => links(&mut nodes[ahead.index()]).behind = behind,
        None => list.front = behind,
    }
    match behind {
        Some(behind) => links(&mut nodes[behind.index()]).ahead = ahead,
        None => list.back = ahead,
    }
}
