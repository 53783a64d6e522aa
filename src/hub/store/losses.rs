//! What connections missed lately and why, remembered in fixed memory.

use std::collections::HashMap;
use std::sync::Arc;

use super::keys::GroupKey;
use crate::event::ConnectionId;
use crate::group::GroupName;
use crate::hub::report::Dropped;
use crate::protocol::outbound::Gap;

/// Pairs of a connection and a group that are remembered.
const REMEMBERED_LOSSES: usize = 1024;

/// Refused joins that are remembered.
const REMEMBERED_REFUSALS: usize = 256;

/// What one connection missed of one group.
#[derive(Debug, Clone)]
pub(in crate::hub) struct RecentLoss {
    pub(in crate::hub) sub: Arc<str>,
    pub(in crate::hub) connection: ConnectionId,
    /// `None` = what was for the user, the connection or all.
    pub(in crate::hub) group: Option<GroupName>,
    pub(in crate::hub) dropped: Dropped,
    /// The newest gap that was announced here, if any was.
    pub(in crate::hub) gap: Option<Gap>,
    /// Second of the shard's clock of the last change.
    pub(in crate::hub) second: u32,
}

/// A join that was refused.
#[derive(Debug, Clone)]
pub(in crate::hub) struct RefusedJoin {
    pub(in crate::hub) sub: Arc<str>,
    pub(in crate::hub) group: Box<str>,
    /// Second of the shard's clock.
    pub(in crate::hub) second: u32,
}

/// The newest losses and refusals of a shard.
///
/// A connection that loses again finds its entry by one look-up, without allocation: a slow reader
/// may lose with every publication.
#[derive(Default)]
pub(in crate::hub) struct RecentLosses {
    /// The newest entry is before `next`, the oldest at it.
    entries: Vec<RecentLoss>,
    next: usize,
    places: HashMap<(ConnectionId, Option<GroupKey>), usize>,
    keys: Vec<(ConnectionId, Option<GroupKey>)>,
    refused: Vec<RefusedJoin>,
    next_refused: usize,
}

impl RecentLosses {
    /// The entry of a connection and a group, made by `entry` if there is none.
    pub(super) fn entry(
        &mut self,
        key: (ConnectionId, Option<GroupKey>),
        entry: impl FnOnce() -> RecentLoss,
    ) -> &mut RecentLoss {
        if let Some(at) = self.places.get(&key) {
            return &mut self.entries[*at];
        }
        let at = self.next;
        self.next = (self.next + 1) % REMEMBERED_LOSSES;
        if at < self.entries.len() {
            self.places.remove(&self.keys[at]);
            self.entries[at] = entry();
            self.keys[at] = key;
        } else {
            self.entries.push(entry());
            self.keys.push(key);
        }
        self.places.insert(key, at);
        &mut self.entries[at]
    }

    /// Notes a join that was refused.
    pub(in crate::hub) fn refuse(&mut self, refused: RefusedJoin) {
        let at = self.next_refused;
        self.next_refused = (at + 1) % REMEMBERED_REFUSALS;
        match self.refused.get_mut(at) {
            Some(oldest) => *oldest = refused,
            None => self.refused.push(refused),
        }
    }

    /// What a user missed.
    pub(in crate::hub) fn of_user(&self, sub: &str) -> impl Iterator<Item = &RecentLoss> {
        self.entries.iter().filter(move |loss| *loss.sub == *sub)
    }

    /// The joins that were refused to a user.
    pub(in crate::hub) fn refused_to(&self, sub: &str) -> impl Iterator<Item = &RefusedJoin> {
        self.refused.iter().filter(move |refused| *refused.sub == *sub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(serial: u64) -> ConnectionId {
        ConnectionId { instance: "k3f5a2bq".parse().expect("legal"), serial }
    }

    fn lose(losses: &mut RecentLosses, serial: u64) {
        let empty = || RecentLoss {
            sub: serial.to_string().into(),
            connection: id(serial),
            group: None,
            dropped: Dropped::default(),
            gap: None,
            second: 0,
        };
        losses.entry((id(serial), None), empty).dropped.capacity += 1;
    }

    #[test]
    fn adds_up_what_one_connection_loses() {
        let mut losses = RecentLosses::default();
        (0..3).for_each(|_| lose(&mut losses, 7));
        let found: Vec<_> = losses.of_user("7").collect();
        assert_eq!((found.len(), found[0].dropped.capacity), (1, 3));
    }

    #[test]
    fn forgets_the_oldest_beyond_its_bound() {
        let mut losses = RecentLosses::default();
        (0..=REMEMBERED_LOSSES as u64).for_each(|serial| lose(&mut losses, serial));
        assert_eq!(losses.of_user("0").count(), 0);
        assert_eq!(losses.of_user("1").count(), 1);
        assert_eq!((losses.entries.len(), losses.places.len()), (REMEMBERED_LOSSES, 1024));
    }
}
