//! Why the layer did not carry something.

/// Why the layer did not carry something. The caller may try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// The layer cannot be reached.
    #[error("the channel layer cannot be reached: {0}")]
    Unreachable(String),
    /// Redis refuses, in these words: rights, memory, a replica, a key of another type.
    #[error("redis refuses: {0}")]
    Refused(String),
    /// The address cannot be used. It is not repeated here: it may hold a password.
    #[error("the address is not redis://[user[:password]@]host[:port][/database]: {0}")]
    Url(String),
}
