//! The bound of all outboxes together: over it, the largest make room.

use crate::hub::Registry;
use crate::hub::context::Context;
use crate::hub::store::Connections;
use crate::protocol::Disconnect;

/// What one shard adds to the outboxes of the process.
pub(super) struct OutboxShare {
    /// Bytes that all outboxes of the process may hold.
    limit: usize,
    /// Bytes of this shard that the registry knows of.
    reported: usize,
}

impl OutboxShare {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, reported: 0 }
    }

    /// Reports what waits here and, where the process is over its bound, closes the connections with
    /// the largest outboxes until the shard is within its share: seven eighths of the bound, divided
    /// as the bytes are now. The eighth is room until connections are searched again.
    ///
    /// They are closed, not cut: what a reader that is this slow misses is better recovered from
    /// history than fetched through the same slow connection.
    pub(super) fn keep(
        &mut self,
        registry: &Registry,
        connections: &mut Connections,
        context: &Context,
    ) {
        let own = connections.waiting_bytes();
        let total = self.report(registry, own);
        if own == 0 || total <= self.limit {
            return;
        }
        let share = (self.limit / 8 * 7) as u128 * own as u128 / total as u128;
        for (_, key) in connections.by_waiting_bytes() {
            if connections.waiting_bytes() as u128 <= share {
                break;
            }
            tracing::debug!(connection = %connections[key].id, total, "outboxes over their bound");
            connections.close(key, Disconnect::SLOW, context);
        }
        self.report(registry, connections.waiting_bytes());
    }

    /// The bytes of all shards.
    fn report(&mut self, registry: &Registry, own: usize) -> usize {
        let before = std::mem::replace(&mut self.reported, own);
        registry.count_outbox_bytes(before, own)
    }
}
