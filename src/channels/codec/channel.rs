//! The channels that a message names.

/// The key of a message that lists its channels. Never part of an event.
pub(super) const CHANNELS_KEY: &str = "__asgi_channel__";

/// Which channels a message names.
#[derive(Debug, Clone, Copy)]
pub enum MessageChannels<'a> {
    /// None: for a channel without `!` in its name, and for the pub/sub layer.
    None,
    /// One, as `send` writes it.
    One(&'a str),
    /// All that share one mailbox, as `group_send` writes them.
    Many(&'a [String]),
}
