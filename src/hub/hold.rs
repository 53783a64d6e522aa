//! Publications held back for members whose join is not answered yet.
//!
//! A join has its live publications from the moment the shard knows of it, while its position and
//! replay are still being fetched; held back until then, they follow the replay without gap,
//! duplicate or reorder.

use std::collections::HashMap;
use std::sync::Arc;

use super::members::{GroupKey, SeatKey};
use crate::event::Publication;

/// What is held back on one shard; empty but for the moments of joins.
#[derive(Default)]
pub(super) struct Holds {
    held: HashMap<(SeatKey, GroupKey), Hold>,
}

/// What one member is waiting for.
#[derive(Default)]
pub(super) struct Hold {
    /// Oldest first.
    pub(super) publications: Vec<Arc<Publication>>,
    /// Publications that were not kept, since the group's capacity was reached.
    pub(super) lost: u64,
}

impl Holds {
    /// Keeps `publication` for a member, up to the group's capacity.
    pub(super) fn keep(
        &mut self,
        seat: SeatKey,
        group: GroupKey,
        publication: &Arc<Publication>,
        capacity: u32,
    ) {
        let hold = self.held.entry((seat, group)).or_default();
        if hold.publications.len() < capacity as usize {
            hold.publications.push(Arc::clone(publication));
        } else {
            hold.lost += 1;
        }
    }

    /// Ends the hold of a member: its join is answered, or it is gone.
    pub(super) fn release(&mut self, seat: SeatKey, group: GroupKey) -> Hold {
        self.held.remove(&(seat, group)).unwrap_or_default()
    }
}
