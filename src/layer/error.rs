//! Errors of the layer.

use std::time::Duration;

/// An error of the layer. The caller may retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// The layer cannot be reached.
    #[error("the channel layer cannot be reached: {0}")]
    Unreachable(String),
    /// One more publication would wait for so long, behind those that are there already.
    #[error("delivery is behind: the publication would wait for {} ms", .0.as_millis())]
    Behind(Duration),
    /// Redis refuses, with its error: rights, memory, a replica, a key of another type.
    #[error("redis refuses: {0}")]
    Refused(String),
    /// The stream of commands is full.
    #[error("the stream of commands holds {0} of the last 10 minutes and takes no more")]
    Full(usize),
    /// The address leads to a node of a Redis Cluster or to a sentinel, with its error.
    #[error("layer.url leads to {}; redis says: {}", kind_of_server(.0), .0)]
    WrongServer(String),
    /// The address is invalid. It is not shown, since it may contain a password.
    #[error("the address is not redis://[user[:password]@]host[:port][/database]: {0}")]
    Url(String),
    /// A file of a password or of TLS cannot be used.
    #[error("{0}")]
    Files(String),
}

/// How the error of a server without scripts begins, such as a sentinel.
pub(super) const UNKNOWN_COMMAND: &str = "ERR unknown command";

/// What a server is, by its error.
fn kind_of_server(words: &str) -> &'static str {
    if words.starts_with(UNKNOWN_COMMAND) {
        "a sentinel, whose address is redis-sentinel://host:26379/<name of the primary>"
    } else {
        "a Redis Cluster, but a single server is needed"
    }
}
