//! Who is in which group on this instance, and the shards that write to them.

mod report;

pub use report::{ConnectionReport, Dropped, GroupReport, UserReport};

/// Shape of the hub.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Threads that own sockets; 0 = one per core.
    pub shards: usize,
    /// Most connections of one `sub` on this instance.
    pub connections_per_user: u32,
    /// Commands and publications that may wait for one shard. When it is full the sender waits, in
    /// the end the publisher: a shard never waits for a socket, so this is CPU, not slow readers.
    pub inbox: usize,
    /// Requests (joins, sends, calls) of all shards that may wait to be served.
    pub requests: usize,
    /// Rate at which connections are closed when draining, per second.
    pub drain_rate: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { shards: 0, connections_per_user: 64, inbox: 4096, requests: 4096, drain_rate: 2000 }
    }
}
