//! The messages that a client may send.

use std::borrow::Cow;

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inbound<'a> {
    /// A complete text message. Borrowed from the input unless it was fragmented.
    Text(Cow<'a, str>),
    /// A ping, whose payload of at most 125 bytes the pong has to repeat.
    Ping(Cow<'a, [u8]>),
    /// A pong: a sign of life.
    Pong,
    /// The client closes, with this code if it gave one. Nothing follows.
    Close(Option<u16>),
}
