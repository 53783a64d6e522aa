//! Entries that are set aside instead of being tried for ever: those that fail again and again, and
//! those that are under way whenever a process ends.
//!
//! What is set aside is told to its groups as a possible loss, and kept in the stream
//! `<cluster>:poison` with the reason, for people to look at.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::entry::{EntryAction, SourceEntry};
use super::metrics::EntryFate;
use super::reply::DrainReply;
use crate::event::{PublicationId, Target};

/// Attempts after which an entry may be set aside. Entries that were left are tried each second.
const MIN_ATTEMPTS: u32 = 10;

/// Most failing entries of a source whose attempts are counted.
const MAX_FAILING: usize = 64;

/// Entries that are handled one by one after a process ended with some of the source under way: as
/// many as a batch has. If one of them ends the next process, it is known which.
const CAREFUL: u32 = 256;

/// Process ends under whose hands an entry may be.
const MAX_ENDS: u64 = 2;

/// Errors of what the entry leads to. Others, such as a full memory or a missing right, concern all
/// entries and pass.
const OWN_ERRORS: [&str; 4] =
    ["WRONGTYPE", "ID specified in XADD", "is not an integer", "attempt to "];

/// The suspects of one source.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    failing: HashMap<PublicationId, Failing>,
    poison: HashMap<PublicationId, Poison>,
    /// How many entries are still handled one by one.
    careful: u32,
}

#[derive(Debug)]
struct Failing {
    attempts: u32,
    since: Instant,
}

/// Why an entry is to be set aside.
#[derive(Debug)]
pub(super) struct Poison {
    pub(super) why: String,
    /// Whether decoding it is safe, so that its groups can be told.
    pub(super) is_decodable: bool,
}

impl Suspects {
    /// Whether entries are handled one by one.
    pub(super) fn is_careful(&self) -> bool {
        self.careful > 0
    }

    /// Why the entry is to be set aside, if it is.
    pub(super) fn poison(&self, id: PublicationId) -> Option<&Poison> {
        self.poison.get(&id)
    }

    /// The entry at the head was under way when so many processes ended, or among others.
    pub(super) fn under_way_at_ends(&mut self, head: PublicationId, ends: u64) {
        if ends > 0 && self.careful == 0 {
            self.careful = CAREFUL;
        }
        if ends >= MAX_ENDS {
            let why = format!("it was under way when {ends} processes ended");
            self.poison.insert(head, Poison { why, is_decodable: false });
        }
    }

    /// Counts attempts. An entry that still fails after `patience` is set aside next time.
    pub(super) fn drained(
        &mut self,
        entries: &[SourceEntry],
        actions: &[EntryAction],
        reply: &DrainReply,
        patience: Duration,
    ) {
        self.careful = self.careful.saturating_sub(entries.len() as u32);
        let is_own = OWN_ERRORS.iter().any(|error| reply.cause.contains(error));
        // Only the first entry of a group fails; later ones are left to keep the order.
        let mut failed = HashSet::new();
        for ((entry, action), fate) in entries.iter().zip(actions).zip(&reply.fates) {
            let is_known = !self.failing.is_empty() || !self.poison.is_empty();
            if *fate != EntryFate::LeftInSource {
                if is_known {
                    self.failing.remove(&entry.id());
                    self.poison.remove(&entry.id());
                }
            } else if is_own && is_first(action, reply, &mut failed) {
                self.failed(entry.id(), &reply.cause, patience);
            }
        }
    }

    fn failed(&mut self, id: PublicationId, cause: &str, patience: Duration) {
        if self.failing.len() >= MAX_FAILING && !self.failing.contains_key(&id) {
            self.failing.clear();
        }
        let now = Instant::now();
        let failing = self.failing.entry(id).or_insert(Failing { attempts: 0, since: now });
        failing.attempts += 1;
        let time = now - failing.since;
        if failing.attempts >= MIN_ATTEMPTS && time >= patience {
            let why = format!("it failed {} times in {time:.0?}: {cause}", failing.attempts);
            self.poison.insert(id, Poison { why, is_decodable: true });
        }
    }
}

/// Whether this is the first entry left for one of its groups, and not for their sake that failed
/// before.
fn is_first(action: &EntryAction, reply: &DrainReply, failed: &mut HashSet<String>) -> bool {
    let mut is_first = false;
    for publication in action.publications() {
        if let Target::Group(group) = &publication.target {
            let end = format!(":group:{group}");
            let is_new = reply.blocked.iter().any(|channel| channel.ends_with(&end));
            is_first |= is_new && failed.insert(end);
        }
    }
    is_first
}
