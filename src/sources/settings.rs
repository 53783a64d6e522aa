//! Which sources are drained.

use crate::channels::ChannelSettings;

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
