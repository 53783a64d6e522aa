//! Appends commands again where Redis may have lost them.

use std::sync::Arc;

use super::recent::MAX_RECENT;
use super::stream::CommandStream;
use crate::layer::LayerError;

/// Commands in one script: a few milliseconds.
const MAX_BATCH: usize = 256;

/// Appends commands again after a change of generation, while the layer exists. Nothing is
/// forgotten while Redis does not answer.
pub(in crate::layer::redis) async fn append_again(stream: Arc<CommandStream>) {
    let mut heartbeats = stream.redis_health().heartbeats();
    while heartbeats.changed().await.is_ok() {
        let generation = *heartbeats.borrow_and_update();
        match stream.append_recent(generation).await {
            Ok(0) => stream.recent.lock().forget_old(),
            Ok(count) => tracing::warn!(count, "commands appended again: redis may have lost them"),
            // The next heartbeat tries again.
            Err(error) => tracing::warn!(%error, "commands not appended again yet"),
        }
    }
}

impl CommandStream {
    /// Appends the recent commands that are not in the stream of `generation`.
    async fn append_recent(&self, generation: u64) -> Result<usize, LayerError> {
        let outside = self.recent.lock().outside(generation);
        for batch in outside.chunks(MAX_BATCH) {
            let marked: Vec<_> = batch.iter().map(|(control, mark)| (control, mark)).collect();
            self.append(&marked, MAX_RECENT as u64).await?;
            self.recent.lock().appended(batch, generation);
        }
        Ok(outside.len())
    }
}
