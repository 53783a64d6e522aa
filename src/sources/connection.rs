//! The connections to Redis over which sources are drained and groups registered.

use super::SourceSettings;
use crate::channels::MailboxNames;
use crate::layer::{KeyChanges, Layer, LayerError, RedisHandle, RemoteRedis};

/// A separate connection to the layer's Redis, and its notifications of writes to sources; and one
/// to the Redis of the channel layer, if that is another.
pub(crate) struct SourceConnection {
    pub(super) redis: RedisHandle,
    pub(super) changes: KeyChanges,
    pub(super) remote: Option<(RemoteRedis, KeyChanges)>,
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
        let is_here = |_: &String| channels.server.is_none();
        let ingress = settings.ingress.then(|| redis.names().ingress());
        let here = mailboxes.clone().filter(is_here).into_iter().chain(ingress);
        let (redis, changes) = redis.handle(here.collect())?;
        let remote = match (&channels.server, mailboxes) {
            (Some(server), Some(mailboxes)) => {
                let who = (redis.names().cluster(), redis.instance());
                let expiry = channels.codec.expiry;
                Some(RemoteRedis::open(server, who, vec![mailboxes], expiry)?)
            }
            _ => None,
        };
        Ok(Some(Self { redis, changes, remote }))
    }

    /// For other users of the connections: the layer's server, and that of the channel layer, if
    /// it is another.
    pub(crate) fn servers(&self) -> (&RedisHandle, Option<&RemoteRedis>) {
        (&self.redis, self.remote.as_ref().map(|(remote, _)| remote))
    }
}
