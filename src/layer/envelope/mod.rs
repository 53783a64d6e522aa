//! The messages that instances exchange over Redis: a few bytes of header, then the event verbatim.
//!
//! ```text
//! version  1 byte, 1
//! kind     1 byte: 0 group, 1 user, 2 connection, 3 all, 4 join, 5 leave, 6 close, 7 probe,
//!          8 possible loss, 9 the end of a session, 10 a question, 11 an answer, 12 lag
//! origin   8 bytes, the instance that wrote it
//! ```
//! and then, by kind:
//! - publications (0 to 3): id (16 bytes), age in ms, flags (1 byte: 1 = deadline, 2 = except), the
//!   time left to the deadline in ms, connections and users left out, the target, the event;
//! - commands (4 to 6): the member, then the group or the close code; the end of a session (9): its
//!   `sub`, its name, the close code; after each its mark, see below;
//! - a probe (7): a number, then the place of the newest command; a possible loss (8): 0 and group
//!   names, or 1, a share's number and how many there are;
//! - a question (10) and its answer (11): its number, then the body, which is opaque here;
//! - lag (12): 8 bytes by which users share queues, then for each queue that is behind: 0 and a
//!   group, 1 and a bucket of users (1 byte), 2 for the instance or 3 for everybody, and the ms.
//!
//! The mark of a command: byte 1, an id (16 bytes), generation and number of its first acceptance,
//! both 0 if that is this one. On the control channel a script appends its place in the stream of
//! commands. A place is `<generation> <number>`, then anything up to a line feed. Releases that did
//! not number commands write no mark and ignore it.
//!
//! Among the users left out, a text that begins with byte 1 is the `sub` of the connections left
//! out. No user has a control character, so a reader that does not know it leaves nobody out by it.
//!
//! Numbers are LEB128, texts have their length before them. The channel names the group, not this.
//! Times are spans, subtracted from and added to the clocks of the instances; no wall clock
//! travels.
//!
//! A publication of a group with history has its position before all that, written by a script:
//! byte 2, then `<epoch> <offset>` and a line feed.
//!
//! One that waited until an instance listened has the ms that it waited before all that: byte 3,
//! then decimal digits and a line feed.
//!
//! Where the cluster has secrets, an envelope is signed: byte 5, 16 bytes of an HMAC-SHA256 over
//! the channel's name and the envelope, the envelope's length (4 bytes, most significant first),
//! the envelope. Positions, times and places, which scripts add around it, are not signed: no
//! script knows a secret. The first are looked up in Redis if they skip. Releases that do not know
//! signatures discard what is signed, so nothing is until every live instance reads it.
//!
//! Each kind has its channel: a group's carries that group's publications and nothing else, that of
//! users kind 1, an instance's 2, 7 and 11, that of questions 10 and 12, the stream of commands 4
//! to 6 and 9, the control channel those and the rest. Elsewhere it is discarded.
//!
//! An announcement is no envelope: byte 4 and 16 bytes of SHA-256. The next message on the external
//! channel of the same group, if it has this digest, was sent by the cluster itself.
//!
//! A JSON object begins with `{` or white space, so whatever else is published on a group's channel
//! is a bare event: `PUBLISH groupcast:group:user_7 '{"type":"notice"}'` needs no envelope.

mod announcement;
mod codec;
mod read;
mod seen;
#[cfg(test)]
mod tests;
mod write;

pub(super) use announcement::Announcement;
pub(super) use codec::{EnvelopeCodec, Found};
pub(super) use read::{parse_place, user_of};

use bytes::Bytes;

use crate::event::{Control, Event, EventError, InstanceId, PossibleLoss, Publication, Stamp};
use crate::group::GroupName;
use crate::layer::cluster_keys::Tag;
use crate::layer::lag_report::LagReport;

/// The version of the format that this release writes, and the only one that it reads.
const VERSION: u8 = 1;

/// The first byte of an envelope with a position.
const POSITIONED: u8 = 2;

/// The first byte of an envelope that was parked.
const WAITED: u8 = 3;

/// The first byte of what is signed.
const SIGNED: u8 = 5;

/// Bytes in front of an envelope that is signed: [`SIGNED`], the tag, the envelope's length.
const SIGNED_PREFIX: usize = 1 + size_of::<Tag>() + 4;

/// The first byte of a command's mark.
const MARKED: u8 = 1;

/// The most entries of one list; the API accepts far fewer.
const MAX_LIST: u64 = 4096;

/// Where a message was received, which determines the allowed kinds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// The channel or the log of a group.
    Group(&'a GroupName),
    /// The channel of users.
    User,
    /// The channel of one instance.
    Instance,
    /// The control channel.
    Control,
    /// The channel of questions.
    Questions,
    /// The stream of commands.
    Commands,
}

/// What identifies a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandMark {
    /// The same each time that it is appended.
    pub(super) id: u128,
    /// When it was accepted; `None` = at its place.
    pub(super) accepted: Option<Stamp>,
    /// Its place in the stream; `None` in the stream itself, whose ids are the numbers.
    pub(super) place: Option<Stamp>,
}

/// A decoded message.
#[derive(Debug)]
pub(super) enum Decoded {
    /// An event published without an envelope: it has no id and was accepted just now.
    Bare(Event),
    /// Written by the instance named.
    From(InstanceId, Message),
}

/// A message of an instance.
#[derive(Debug)]
pub(super) enum Message {
    /// For a group, a user, a connection or all.
    Publication(Publication),
    /// A command of a back end; without a mark if an older release accepted it.
    Command(Control, Option<CommandMark>),
    /// Sent by an instance to itself: its return proves delivery. With the place of the newest
    /// command at that moment.
    Probe(u64, Option<Stamp>),
    /// Publications may have been lost before they reached the layer.
    PossibleLoss(PossibleLoss),
    /// Of one instance to the others: its number and body.
    Question(u64, Bytes),
    /// To a question of this number.
    Answer(u64, Bytes),
    /// What waits in front of the hub of the instance that wrote it.
    Lag(LagReport),
}

/// Why a message was discarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EnvelopeError {
    /// Written by a newer release.
    #[error("envelope has version {0}; this release reads 1")]
    Version(u8),
    /// Not allowed on this channel.
    #[error("envelope has kind {0}, which this channel does not carry")]
    Kind(u8),
    /// Not signed, in a cluster that requires it.
    #[error("envelope is not signed; cluster.require discards it")]
    Unsigned,
    /// Signed for another channel, with another secret, or forged.
    #[error("envelope is signed with none of the cluster's secrets, or for another channel")]
    Signature,
    /// A copy of a message that has arrived.
    #[error("envelope has arrived before; a copy is discarded")]
    Repeated,
    /// Truncated or damaged at this field.
    #[error("envelope has no valid {0}")]
    Malformed(&'static str),
    /// Larger than an event may be.
    #[error("event has {bytes} bytes; at most {most} are allowed")]
    TooLarge {
        /// The message's length.
        bytes: usize,
        /// The bound.
        most: usize,
    },
    /// The decoder panicked: a bug, which only discards the message.
    #[error("envelope made the decoder panic")]
    Panic,
    /// The event in it.
    #[error(transparent)]
    Event(#[from] EventError),
}

/// The first byte of the `sub` that the connections left out belong to.
const OWNER: char = '\u{1}';

/// Values of the second byte.
mod kind {
    pub(super) const GROUP: u8 = 0;
    pub(super) const USER: u8 = 1;
    pub(super) const CONNECTION: u8 = 2;
    pub(super) const ALL: u8 = 3;
    pub(super) const JOIN: u8 = 4;
    pub(super) const LEAVE: u8 = 5;
    pub(super) const CLOSE: u8 = 6;
    pub(super) const PROBE: u8 = 7;
    pub(super) const POSSIBLE_LOSS: u8 = 8;
    pub(super) const CLOSE_SESSION: u8 = 9;
    pub(super) const QUESTION: u8 = 10;
    pub(super) const ANSWER: u8 = 11;
    pub(super) const LAG: u8 = 12;
}

/// Bits of a publication's flags.
mod flag {
    pub(super) const DEADLINE: u8 = 1;
    pub(super) const EXCEPT: u8 = 2;
}

/// Tags of queues.
mod queue {
    pub(super) const GROUP: u8 = 0;
    pub(super) const USERS: u8 = 1;
    pub(super) const INSTANCE: u8 = 2;
    pub(super) const EVERYBODY: u8 = 3;
}

/// Tags of members.
mod member {
    pub(super) const USER: u8 = 0;
    pub(super) const CONNECTION: u8 = 1;
}
