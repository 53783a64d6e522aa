//! The idempotency keys in use, each with its publication and receipts.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::dedupe_key::{DedupeKey, sha256};
use super::outcome::Receipt;
use super::request::PublishRequest;
use crate::bounded_map::{ExpiringMap, MapLimits};
use crate::event::Target;

/// What a key identifies: everything that the caller chose for a publication.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content([u8; 32]);

/// The keys being published and the keys remembered.
#[derive(Debug)]
pub(super) struct Keys {
    window: Duration,
    memory: Mutex<KeyTable>,
}

#[derive(Debug)]
struct KeyTable {
    /// Keys being published, bounded by the number of concurrent callers.
    claimed: HashMap<DedupeKey, PendingKey>,
    settled: ExpiringMap<DedupeKey, Settled>,
}

#[derive(Debug)]
struct PendingKey {
    content: Content,
    /// Closes when publishing ends.
    released: watch::Receiver<()>,
}

#[derive(Debug)]
struct Settled {
    content: Content,
    claimed_at: Instant,
    /// The receipt for each target.
    accepted: Vec<Option<Receipt>>,
}

/// The answer to a claim.
pub(super) enum Claim<'a> {
    /// Publish the targets that were not accepted earlier.
    Mine(Claimed<'a>),
    /// All were accepted: the receipts, for each target. It is not recorded again, or one key
    /// repeated often would evict all others.
    Known(Vec<Receipt>),
    /// Another request is publishing it: wait for the channel to close, then claim again.
    Taken(watch::Receiver<()>),
    /// The key was used for something else.
    OtherContent,
}

/// A key being published. Dropping it stores the recorded receipts, or forgets the key if there are
/// none, and wakes waiting requests. So a cancelled request never blocks a key.
pub(super) struct Claimed<'a> {
    keys: &'a Keys,
    key: DedupeKey,
    claimed_at: Instant,
    accepted: Vec<Option<Receipt>>,
    _release: watch::Sender<()>,
}

impl Content {
    /// Without excluded connections: a client that reconnects repeats a `send` on another
    /// connection, and means the same publication.
    pub(super) fn of(targets: &[Target], request: &PublishRequest) -> Self {
        let addressed =
            format!("{targets:?} except {:?} within {:?}", request.except.users, request.expiry);
        Self(sha256(&[addressed.as_bytes(), request.event.json()]))
    }
}

// ===== impl Keys =====

impl Keys {
    pub(super) fn new(window: Duration, capacity: usize) -> Self {
        let settled = ExpiringMap::new(MapLimits::entries(capacity));
        Self { window, memory: Mutex::new(KeyTable { claimed: HashMap::new(), settled }) }
    }

    /// Claims `key` for a publication to `targets` targets.
    pub(super) fn claim(
        &self,
        key: &DedupeKey,
        content: &Content,
        targets: usize,
        now: Instant,
    ) -> Claim<'_> {
        let mut memory = self.memory.lock();
        if let Some(in_flight) = memory.claimed.get(key) {
            return match in_flight.content == *content {
                true => Claim::Taken(in_flight.released.clone()),
                false => Claim::OtherContent,
            };
        }
        let (mut claimed_at, mut accepted) = (now, vec![None; targets]);
        if let Some(settled) = memory.settled.get(key, now) {
            if settled.content != *content {
                return Claim::OtherContent;
            }
            if let Some(all) = settled.accepted.iter().cloned().collect() {
                return Claim::Known(all);
            }
            claimed_at = settled.claimed_at;
            accepted.clone_from(&settled.accepted);
        }
        memory.settled.remove(key, now);
        let (release, released) = watch::channel(());
        memory.claimed.insert(key.clone(), PendingKey { content: content.clone(), released });
        Claim::Mine(Claimed {
            keys: self,
            key: key.clone(),
            claimed_at,
            accepted,
            _release: release,
        })
    }

    /// The number of keys.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        let memory = self.memory.lock();
        memory.claimed.len() + memory.settled.len()
    }
}

// ===== impl Claimed =====

impl Claimed<'_> {
    /// The earlier receipt of the target at `index` under this key.
    pub(super) fn earlier(&self, index: usize) -> Option<Receipt> {
        self.accepted[index].clone()
    }

    /// Records the receipt of the target at `index`.
    pub(super) fn note(&mut self, index: usize, accepted: &Receipt) {
        self.accepted[index] = Some(accepted.clone());
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        let mut memory = self.keys.memory.lock();
        let Some(PendingKey { content, .. }) = memory.claimed.remove(&self.key) else { return };
        let accepted = std::mem::take(&mut self.accepted);
        if accepted.iter().all(Option::is_none) {
            return;
        }
        let until = self.claimed_at + self.keys.window;
        let settled = Settled { content, claimed_at: self.claimed_at, accepted };
        memory.settled.insert(self.key.clone(), settled, 0, until, Instant::now());
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}
