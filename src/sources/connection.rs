//! The connection to the layer's Redis over which sources are drained and groups registered.

use super::SourceSettings;
use crate::channels::MailboxNames;
use crate::layer::{KeyChanges, Layer, LayerError, RedisHandle};

/// A separate connection to Redis, and its notifications of writes to sources.
pub(crate) struct SourceConnection {
    pub(super) redis: RedisHandle,
    pub(super) changes: KeyChanges,
}

impl SourceConnection {
    /// Opens it; `None` over the memory layer, which has no sources, or with nothing to receive.
    ///
    /// # Errors
    /// As [`Layer::start`]. Must be called within a runtime.
    pub(crate) fn open(
        layer: &Layer,
        settings: &SourceSettings,
    ) -> Result<Option<Self>, LayerError> {
        let Layer::Redis(redis) = layer else { return Ok(None) };
        let channels = &settings.channels;
        if !settings.receives() {
            return Ok(None);
        }
        let names = MailboxNames::new(channels, redis.names().cluster());
        let mailboxes = channels.core.then(|| names.key_stem());
        let ingress = settings.ingress.then(|| redis.names().ingress());
        let (redis, changes) = redis.handle(mailboxes.into_iter().chain(ingress).collect())?;
        Ok(Some(Self { redis, changes }))
    }

    /// For other users of the connection.
    pub(crate) fn redis(&self) -> &RedisHandle {
        &self.redis
    }
}
