//! Which sources are drained.

use crate::channels::ChannelSettings;
use crate::layer::RedisSettings;

/// Which sources are drained.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// Whether the stream `<cluster>:ingress` is drained.
    pub ingress: bool,
    /// Django's channel layer; its mailboxes are drained if its core layer is received.
    pub channels: ChannelSettings,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self { ingress: true, channels: ChannelSettings::default() }
    }
}

impl SourceSettings {
    /// Whether there is anything to receive.
    pub(super) fn receives(&self) -> bool {
        self.ingress || self.channels.core || self.channels.pubsub
    }

    /// Applies the settings on which the Redis layer depends.
    pub fn prepare(&self, redis: &mut RedisSettings) {
        redis.enters_groups = self.receives();
        self.channels.prepare(redis);
    }
}
