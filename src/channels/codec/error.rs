//! Why a message cannot be decoded, with the setting to check.

use super::channel::CHANNELS_KEY;
use crate::event::{Event, EventError};

/// Why a message cannot be read. Positions are bytes of the message in clear, from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Less than the random prefix.
    #[error(
        "entry has {len} bytes, less than a random prefix of {prefix}; random_prefix_length must \
         be as in Django"
    )]
    Short {
        /// Its length.
        len: usize,
        /// The length configured.
        prefix: usize,
    },
    /// Encrypted, but no key is configured.
    #[error(
        "message is encrypted and no key is configured; symmetric_encryption_keys must be as in \
         Django"
    )]
    Encrypted,
    /// Not encrypted, but keys are configured.
    #[error(
        "message is not encrypted and keys are configured; keys and random_prefix_length must be \
         as in Django"
    )]
    NotEncrypted,
    /// Begins like a Fernet token but is not one.
    #[error("message is no Fernet token: {0}")]
    Token(&'static str),
    /// Encrypted with another key, or altered.
    #[error("message fits none of {0} keys; symmetric_encryption_keys must be as in Django")]
    NoKeyFits(usize),
    /// Waited too long.
    #[error("message is {age} s old; at most {max} s are allowed")]
    Stale {
        /// Its age in seconds.
        age: u64,
        /// The most allowed.
        max: u64,
    },
    /// From the future.
    #[error("message is from {ahead} s ahead; clocks may differ by at most {max} s")]
    Early {
        /// Seconds ahead of this clock.
        ahead: u64,
        /// The most allowed.
        max: u64,
    },
    /// Written by the other serializer.
    #[error("message is {found}, {set} is configured; serializer must be as in Django")]
    Serializer {
        /// What it looks like.
        found: &'static str,
        /// What is configured.
        set: &'static str,
    },
    /// Not a map.
    #[error(
        "message is {0}, a map is required; serializer and random_prefix_length must be as in \
         Django"
    )]
    NotMap(&'static str),
    /// Cut off.
    #[error("message ends within {what} that begins at byte {at}")]
    Truncated {
        /// What is cut off.
        what: &'static str,
        /// Where it begins.
        at: usize,
    },
    /// More than one message.
    #[error("message is followed by {0} bytes; nothing may follow")]
    Trailing(usize),
    /// A key that is not a string.
    #[error("message has {found} for a key at byte {at}; keys must be strings")]
    Key {
        /// The kind of value found.
        found: &'static str,
        /// Where.
        at: usize,
    },
    /// An extension type, such as a timestamp, which JSON cannot express.
    #[error(
        "message has a value of extension type {kind} at byte {at}; nil, booleans, numbers, \
         strings, binary, arrays and maps are allowed"
    )]
    Extension {
        /// The application's number for it.
        kind: i8,
        /// Where.
        at: usize,
    },
    /// The one byte that is never used in msgpack.
    #[error("message has byte 0xc1 at byte {0}, which begins no msgpack value")]
    Reserved(usize),
    /// Nested deeper than an event may be.
    #[error("message is nested deeper than {max} arrays and maps", max = Event::MAX_DEPTH)]
    TooDeep,
    /// An invalid string.
    #[error("message has a string at byte {0} that is not UTF-8")]
    NotUtf8(usize),
    /// Channels that are not names.
    #[error("message has {CHANNELS_KEY} {0}; a string or an array of strings is required")]
    Channels(String),
    /// Channels twice.
    #[error("message has {CHANNELS_KEY} twice; it may stand once")]
    ChannelsTwice,
    /// Readable, but not an event.
    #[error(transparent)]
    Event(#[from] EventError),
}
