//! How channels_redis writes messages.

use std::time::Duration;

/// channels_redis' `serializer_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serializer {
    /// The library's default.
    MsgPack,
    /// `json`.
    Json,
}

/// What Django's settings say of messages.
#[derive(Clone)]
pub struct CodecSettings {
    /// `serializer_format`.
    pub serializer: Serializer,
    /// `symmetric_encryption_keys`, the newest first; empty = messages in clear.
    pub keys: Vec<Vec<u8>>,
    /// `random_prefix_length`, bytes before each message.
    pub random_prefix: usize,
    /// `expiry`.
    pub expiry: Duration,
}

