//! Keeps the limit of all outboxes together: beyond it, the largest are closed.

use crate::hub::Registry;
use crate::hub::context::Context;
use crate::hub::store::Connections;
use crate::protocol::Disconnect;

/// One shard's share of the outboxes of the process.
pub(super) struct OutboxShare {
    /// Bytes that all outboxes of the process may hold.
    limit: usize,
    /// Bytes of this shard as last reported to the registry.
    reported: usize,
}

impl OutboxShare {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, reported: 0 }
    }

    /// Reports this shard's bytes. If the process exceeds the limit, closes the connections with
    /// the largest outboxes until the shard is within its share: seven eighths of the limit, in
    /// proportion to its bytes. The remaining eighth is room until connections are searched again.
    ///
    /// They are closed rather than emptied: a reader this slow recovers better from history than
    /// through the same slow connection.
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
