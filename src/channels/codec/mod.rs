//! The message format of channels_redis: serialized, perhaps encrypted, after a random prefix.
//!
//! Pure: no I/O, no clock, no randomness of its own. Taken from channels_redis 4.3.0, and tested
//! with samples that it wrote (`tests/golden`).

mod channel;
mod error;
mod fernet;
mod json;
mod msgpack;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use channel::CHANNELS_KEY;
pub use channel::MessageChannels;
pub use error::CodecError;
use fernet::Fernet;

use crate::event::Event;

/// Seconds that an encrypted message may be older than `expiry`: what channels_redis grants.
const AGE_GRACE: u64 = 10;

/// How messages become bytes: Django's `serializer_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Serializer {
    /// channels_redis's default.
    #[default]
    MsgPack,
    /// Text as Python's `json` writes it, which is not always JSON: it knows `NaN`.
    Json,
}

/// The settings of Django's layer that affect the bytes.
#[derive(Clone)]
pub struct CodecSettings {
    /// `serializer_format`. Default: msgpack.
    pub serializer: Serializer,
    /// `symmetric_encryption_keys` in the same order, UTF-8 where Django has text. The first
    /// encrypts, each is tried to decrypt. Default: none, messages are in clear.
    pub keys: Vec<Vec<u8>>,
    /// `random_prefix_length`, bytes. Default: 12.
    pub random_prefix: usize,
    /// `expiry`, of which whole seconds count. Default: 60 s.
    pub expiry: Duration,
}

impl Default for CodecSettings {
    fn default() -> Self {
        Self {
            serializer: Serializer::MsgPack,
            keys: Vec::new(),
            random_prefix: 12,
            expiry: Duration::from_secs(60),
        }
    }
}

/// Shows only the number of keys.
impl fmt::Debug for CodecSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodecSettings")
            .field("serializer", &self.serializer)
            .field("keys", &self.keys.len())
            .field("random_prefix", &self.random_prefix)
            .field("expiry", &self.expiry)
            .finish()
    }
}

/// A decoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The content as compact JSON: keys in the sender's order, binary values as base64
    /// (RFC 4648 section 4), floats that are no number as `null`.
    pub event: Event,
    /// Full names of the channels it is for; empty if the message lists none.
    pub channels: Vec<String>,
}

/// Reads and writes messages of one layer.
pub struct Codec {
    serializer: Serializer,
    fernets: Vec<Fernet>,
    random_prefix: usize,
    /// Seconds.
    max_age: u64,
}

impl Codec {
    /// Derives the keys.
    pub fn new(settings: &CodecSettings) -> Self {
        Self {
            serializer: settings.serializer,
            fernets: settings.keys.iter().map(|key| Fernet::new(key)).collect(),
            random_prefix: settings.random_prefix,
            max_age: settings.expiry.as_secs().saturating_add(AGE_GRACE),
        }
    }

    /// Reads the member of a mailbox. `now` in seconds since 1970.
    ///
    /// An encrypted message that is older than `expiry` and 10 s, or from more than 60 s ahead, is
    /// refused; an unencrypted one has no age.
    pub fn read(&self, entry: &[u8], now: u64) -> Result<Received, CodecError> {
        let payload = entry
            .get(self.random_prefix..)
            .ok_or(CodecError::Short { len: entry.len(), prefix: self.random_prefix })?;
        let message = self.open(payload)?;
        if let Some(written) = message.written {
            fernet::check_age(written, now, self.max_age)?;
        }
        self.decode(&message.bytes)
    }

    /// The channels that a partly unreadable message names: their members miss it.
    /// None if not even that can be read.
    pub fn channels_of_unreadable(&self, entry: &[u8]) -> Vec<String> {
        let opened = entry.get(self.random_prefix..).and_then(|payload| self.open(payload).ok());
        let Some(Opened { bytes, .. }) = opened else { return Vec::new() };
        // Senders add it to the message, so it is the last key.
        let found = bytes.windows(CHANNELS_KEY.len()).rposition(|at| at == CHANNELS_KEY.as_bytes());
        let Some(at) = found else { return Vec::new() };
        let rest = &bytes[at + CHANNELS_KEY.len()..];
        let channels = match self.serializer {
            Serializer::MsgPack => msgpack::read_channels(rest),
            Serializer::Json => json::read_channels(rest),
        };
        channels.unwrap_or_default()
    }

    /// Reads what the pub/sub layer publishes: without prefix, of any age.
    pub fn read_bare(&self, payload: &[u8]) -> Result<Received, CodecError> {
        self.decode(&self.open(payload)?.bytes)
    }

    /// Writes the member of a mailbox. `prefix`: random bytes, as many as configured, since
    /// the receiver cuts off that many; they keep equal messages from becoming one member. `iv`:
    /// unpredictable random bytes. `now` in seconds since 1970.
    ///
    /// Channels named by the event itself are removed: its content must not choose the receivers.
    pub fn write(
        &self,
        event: &Event,
        channel: MessageChannels<'_>,
        prefix: &[u8],
        iv: [u8; 16],
        now: u64,
    ) -> Vec<u8> {
        let Some(fernet) = self.fernets.first() else {
            return self.encode(event, channel, prefix);
        };
        fernet.encrypt(self.encode(event, channel, &[]), prefix, iv, now)
    }

    /// Writes what the pub/sub layer publishes.
    pub fn write_bare(&self, event: &Event, iv: [u8; 16], now: u64) -> Vec<u8> {
        self.write(event, MessageChannels::None, &[], iv, now)
    }

    fn open<'a>(&self, payload: &'a [u8]) -> Result<Opened<'a>, CodecError> {
        let encrypted = payload.starts_with(fernet::BEGINNING);
        match (encrypted, self.fernets.is_empty()) {
            (false, true) => Ok(Opened { bytes: Cow::Borrowed(payload), written: None }),
            (true, true) => Err(CodecError::Encrypted),
            (false, false) => Err(CodecError::NotEncrypted),
            (true, false) => {
                let (bytes, written) = fernet::decrypt(&self.fernets, payload)?;
                Ok(Opened { bytes: Cow::Owned(bytes), written: Some(written) })
            }
        }
    }

    fn decode(&self, message: &[u8]) -> Result<Received, CodecError> {
        let (json, channels) = match self.serializer {
            Serializer::MsgPack => msgpack::read(message)?,
            Serializer::Json => json::read(message)?,
        };
        Ok(Received { event: Event::parse(Bytes::from(json))?, channels })
    }

    /// The message in clear, behind `prefix`.
    fn encode(&self, event: &Event, channel: MessageChannels<'_>, prefix: &[u8]) -> Vec<u8> {
        match self.serializer {
            Serializer::MsgPack => msgpack::write(event, channel, prefix),
            Serializer::Json => json::write(event, channel, prefix),
        }
    }
}

/// Shows only the number of keys.
impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec")
            .field("serializer", &self.serializer)
            .field("keys", &self.fernets.len())
            .field("random_prefix", &self.random_prefix)
            .field("max_age", &self.max_age)
            .finish()
    }
}

/// A message in clear.
struct Opened<'a> {
    bytes: Cow<'a, [u8]>,
    /// Seconds since 1970, by the sender's clock; known of what was encrypted.
    written: Option<u64>,
}
