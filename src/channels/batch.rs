//! What goes to the scripts of a drain and what they answer.

use bytes::Bytes;

use super::drain::SourceState;
use super::source::{DurableSource, SourceEntry};
use crate::event::Event;
use crate::group::GroupName;
use crate::layer::{FromReply, Reply, ScriptError};
pub(super) use crate::telemetry::EntryFate as Fate;

/// Entries of one source in one batch. Redis does nothing else meanwhile: about 1 ms.
const MAX_ENTRIES: usize = 256;

/// Bytes of one source in one batch, as far as entries are smaller than that.
const MAX_BYTES: usize = 256 * 1024;

/// Bytes of one look at all sources.
const MAX_LOOK: usize = 1024 * 1024;

/// What stood in one source.
pub(super) struct Batch {
    pub(super) index: usize,
    pub(super) found: Vec<SourceEntry>,
    /// Whether it was looked at; what stands before it may have been all that one look takes.
    pub(super) reached: bool,
    /// Entries at its head, kept before, behind which it was read.
    pub(super) from: usize,
    /// Entries in the source, read or not.
    pub(super) length: u64,
    /// Whether there is more than was read.
    pub(super) more: bool,
    /// Why it cannot be read.
    pub(super) refused: Option<String>,
}

/// How a batch ended.
pub(super) struct Outcome {
    pub(super) batch: Batch,
    pub(super) answer: Result<DrainReply, ScriptError>,
    /// What the entries at these places say to groups, if Django's consumers may be told.
    pub(super) entered: Vec<(usize, GroupName, Event)>,
    /// Entries that this instance has removed before.
    pub(super) duplicates: u64,
    /// Entries that say nothing, and the error of the last.
    pub(super) broken: u64,
    pub(super) unreadable: Option<String>,
}

/// What the draining script answered.
#[derive(Debug, Default, PartialEq)]
pub(super) struct DrainReply {
    /// Of each entry; empty = the generation was not the present one.
    pub(super) fates: Vec<Fate>,
    /// Whether senders may have been turned away.
    pub(super) full: bool,
    /// Why something was kept.
    pub(super) cause: String,
    /// The channels of what was kept, as far as they are news.
    pub(super) stuck: Vec<String>,
    /// Why nothing can be removed.
    pub(super) refused: Option<String>,
}

/// The arguments of a look: of each source either a whole batch or its first entry.
pub(super) fn look_arguments<'a>(
    wanted: impl Iterator<Item = (DurableSource, &'a SourceState, bool)>,
) -> Vec<Bytes> {
    let mut arguments = vec![text(MAX_LOOK), text(MAX_BYTES)];
    for (source, place, whole) in wanted {
        arguments.push(Bytes::from_static(source.kind().as_bytes()));
        arguments.push(text(place.kept));
        arguments.push(place.after.clone().unwrap_or_default());
        arguments.push(text(if whole { MAX_ENTRIES } else { 1 }));
    }
    arguments
}

/// What a look at the sources `due` found.
pub(super) fn read_look(due: &[usize], mut answer: Vec<Reply>) -> Vec<Batch> {
    let now = match answer.pop() {
        Some(Reply::Integer(ms)) => u64::try_from(ms).unwrap_or_default(),
        _ => 0,
    };
    due.iter().zip(answer).map(|(index, here)| read_source(*index, here, now)).collect()
}

/// `now`: by Redis' clock, ms.
fn read_source(index: usize, here: Reply, now: u64) -> Batch {
    let found = Vec::new();
    let mut batch =
        Batch { index, found, reached: true, from: 0, length: 0, more: false, refused: None };
    let Reply::List(here) = here else { return Batch { reached: false, ..batch } };
    let mut here = here.into_iter();
    let length = match here.next() {
        None => return batch,
        Some(Reply::Integer(length)) => length,
        Some(_) => {
            let why = here.next().and_then(Reply::convert);
            batch.refused = Some(why.unwrap_or_default());
            return batch;
        }
    };
    batch.from = here.next().and_then(Reply::convert::<u64>).unwrap_or_default() as usize;
    while let (Some(entry), Some(rest)) = (here.next(), here.next()) {
        if let Reply::Bytes(entry) = entry {
            batch.found.push(SourceEntry::new(entry, rest, now));
        }
    }
    batch.length = length.max(0) as u64;
    batch.more = length > (batch.from + batch.found.len()) as i64;
    batch
}

impl FromReply for DrainReply {
    fn from_reply(reply: Reply) -> Option<Self> {
        let parts = reply.convert::<Vec<Reply>>()?.into_iter();
        let mut parts = parts.map(|part| part.convert::<String>().unwrap_or_default());
        let Some(letters) = parts.next() else { return Some(Self::default()) };
        let second = parts.next().unwrap_or_default();
        if letters == "!" {
            return Some(Self { refused: Some(second), ..Self::default() });
        }
        Some(Self {
            fates: letters.bytes().map(fate).collect(),
            full: second == "1",
            cause: parts.next().unwrap_or_default(),
            stuck: parts.collect(),
            refused: None,
        })
    }
}

fn fate(letter: u8) -> Fate {
    match letter {
        b'p' => Fate::Sent,
        b'w' => Fate::Parked,
        b'u' => Fate::NoListener,
        b'd' => Fate::Removed,
        b'g' => Fate::TakenElsewhere,
        _ => Fate::LeftInSource,
    }
}

fn text(number: usize) -> Bytes {
    Bytes::from(number.to_string())
}
