//! One client's byte stream: decoding of its input, and its bounded output queue.

mod client_socket;
mod decoder;
mod outbox;
mod round_trip;
mod stream;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use client_socket::ClientSocket;
pub(crate) use decoder::{Decoder, Inbound, accept_key};
pub(crate) use outbox::{Flushed, GapPolicy, Lost, Millis, Outbox, QueuedEvent, Source};
use round_trip::RoundTrip;
pub(crate) use stream::Stream;

use crate::group::{GroupName, GroupPattern};

/// Bounds of every connection.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most bytes in one outbox.
    ///
    /// The limit that protects memory: counts alone do not, since events differ in size.
    pub outbox_bytes: usize,
    /// Largest inbound message, bytes. Commands are small; this is also what a connection can make
    /// the gateway hold while a message is incomplete.
    pub max_frame_bytes: usize,
    /// Inbound frames per second, sustained.
    pub frames_per_second: u32,
    /// Inbound frames in a burst, after silence.
    pub frame_burst: u32,
    /// The most groups that one connection may join.
    pub groups_per_connection: usize,
    /// Unsent bytes the kernel takes before it reports a socket as full (`TCP_NOTSENT_LOWAT`).
    ///
    /// Without it the kernel buffers megabytes, to which no capacity or expiry applies.
    pub notsent_lowat: u32,
    /// Time between two pings.
    pub ping: Duration,
    /// Silence allowed after a ping before the connection is closed.
    pub ping_grace: Duration,
    /// Limits by group pattern; the first match wins, and the last pattern is `*`.
    pub group_limits: Vec<(GroupPattern, Limits)>,
}

/// Limits of one group in the outbox of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most queued publications of the group.
    pub capacity: u32,
    /// The longest wait of a publication, counted from its acceptance.
    pub expiry: Duration,
    /// What happens when the capacity is exceeded.
    pub overflow: Overflow,
    /// For [`Overflow::Latest`]: the member of an event by whose value a newer one replaces it;
    /// `None` = the group as a whole has one newest event. Lives as long as the process, as the
    /// configuration does, so that limits stay plain values.
    pub collapse: Option<&'static str>,
}

/// What happens when a group's publications overflow an outbox. The outbox decides by it, and for
/// what is held back during a join `hub::join::answer`, where the buffer itself keeps the oldest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// Drops the oldest queued one of the group: for feeds, where the newest state counts.
    #[default]
    DropOldest,
    /// Drops the arriving one, as channel layers do.
    DropNewest,
    /// Keeps only the newest one of the group, or of each value of `Limits::collapse`: for
    /// progress and other states, where a newer one replaces those before it. They are no loss.
    /// More values than the capacity drop the oldest.
    Latest,
    /// Closes the connection with 4508: for streams that are useless with gaps.
    Close,
}

impl Settings {
    /// The limits of the group called `name`.
    pub fn limits_of(&self, name: &GroupName) -> Limits {
        let first = self.group_limits.iter().find(|(pattern, _)| pattern.matches(name.as_str()));
        first.map_or_else(Limits::default, |(_, limits)| *limits)
    }
}

impl Default for Limits {
    fn default() -> Self {
        let (capacity, expiry) = (1000, Duration::from_secs(60));
        Self { capacity, expiry, overflow: Overflow::default(), collapse: None }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let every = GroupPattern::parse("*").expect("'*' is a pattern");
        Self {
            outbox_bytes: 256 * 1024,
            max_frame_bytes: 16 * 1024,
            frames_per_second: 50,
            frame_burst: 200,
            groups_per_connection: 128,
            notsent_lowat: 32 * 1024,
            ping: Duration::from_secs(25),
            ping_grace: Duration::from_secs(10),
            group_limits: vec![(every, Limits::default())],
        }
    }
}
