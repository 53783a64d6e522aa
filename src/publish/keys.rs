//! Idempotency keys: which publication a key stands for, and what it was answered.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::watch;

use super::{PublishRequest, Receipt};
use crate::event::Target;

/// Who chose a key: two publishers never meet in one.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// A back end, by the name of its API key.
    ApiKey(&'a str),
    /// A browser, by its `sub`.
    User(&'a str),
}

/// A publisher's name for one publication.
///
/// Kept as a SHA-256, so that remembering one costs the same however long it is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DedupeKey([u8; 32]);

/// Why a text is no idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("idempotency key has {0} bytes; 1 to {max} are allowed", max = DedupeKey::MAX_LEN)]
pub struct KeyError(usize);

/// What a key stands for: all of a publication that the publisher chose.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content([u8; 32]);

/// The keys in use and the keys remembered.
#[derive(Debug)]
pub(super) struct Keys {
    window: Duration,
    capacity: usize,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    entries: HashMap<DedupeKey, Entry>,
    /// Settled keys, oldest first, each with its turn; a turn that is not its entry's is stale.
    order: VecDeque<(DedupeKey, u64)>,
    turns: u64,
}

#[derive(Debug)]
struct Entry {
    content: Content,
    claimed_at: Instant,
    /// For each target, what it was answered.
    accepted: Vec<Option<Receipt>>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Somebody is publishing it; the channel closes when that ends.
    Claimed(watch::Receiver<()>),
    /// Nobody is; the number is its turn in [`Memory::order`].
    Settled(u64),
}

/// The answer to a claim.
pub(super) enum Claim<'a> {
    /// Publish what was not accepted earlier.
    Mine(Claimed<'a>),
    /// All of it was: the answers, for each target. Not a [`Claimed`] that is noted again, or one
    /// key repeated often would push out all the others.
    Known(Vec<Receipt>),
    /// Another request is publishing it: wait for the channel to close, then claim again.
    Taken(watch::Receiver<()>),
    /// The key stands for something else.
    OtherContent,
}

/// A key being published. Dropping it settles what was noted, or forgets the key if nothing was, and
/// wakes those that wait: so a cancelled request leaves no key behind that nobody can use.
pub(super) struct Claimed<'a> {
    keys: &'a Keys,
    key: DedupeKey,
    accepted: Vec<Option<Receipt>>,
    _release: watch::Sender<()>,
}

/// Keys past their time that are removed with each one settled: more than one, so that the memory
/// shrinks; few, so that no publisher pays for a hundred thousand.
const SWEEP: usize = 4;

impl DedupeKey {
    /// Longest text of a key, bytes.
    pub const MAX_LEN: usize = 255;

    /// The key that `scope` calls `text`.
    pub fn new(scope: Scope<'_>, text: &str) -> Result<Self, KeyError> {
        if !(1..=Self::MAX_LEN).contains(&text.len()) {
            return Err(KeyError(text.len()));
        }
        let (kind, owner) = match scope {
            Scope::ApiKey(name) => ("api", name),
            Scope::User(sub) => ("user", sub),
        };
        Ok(Self(sha256(&[kind.as_bytes(), owner.as_bytes(), text.as_bytes()])))
    }

    /// The key of the publication at `index` of a batch that has this key as a whole.
    pub fn of_part(&self, index: usize) -> Self {
        Self(sha256(&[b"part", &self.0, &(index as u64).to_be_bytes()]))
    }
}

impl Content {
    /// Without the connections that are left out: whoever repeats a `send` after coming back does
    /// so on another one, and means the same publication.
    pub(super) fn of(targets: &[Target], draft: &PublishRequest) -> Self {
        let whom = format!("{targets:?} except {:?} within {:?}", draft.except.users, draft.expiry);
        Self(sha256(&[whom.as_bytes(), draft.event.json()]))
    }
}

/// Digest of a list: the length before each part keeps `("a", "bc")` apart from `("ab", "c")`.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

// ===== impl Keys =====

impl Keys {
    pub(super) fn new(window: Duration, capacity: usize) -> Self {
        Self { window, capacity, memory: Mutex::default() }
    }

    /// Claims `key` for a publication to `targets` targets.
    pub(super) fn claim(
        &self,
        key: &DedupeKey,
        content: &Content,
        targets: usize,
        now: Instant,
    ) -> Claim<'_> {
        let mut memory = self.lock();
        let mut accepted = vec![None; targets];
        let mut claimed_at = now;
        if let Some(entry) = memory.entries.get(key) {
            let expired = now.saturating_duration_since(entry.claimed_at) >= self.window;
            match &entry.stage {
                Stage::Claimed(_) if entry.content != *content => return Claim::OtherContent,
                Stage::Claimed(released) => return Claim::Taken(released.clone()),
                Stage::Settled(_) if expired => {}
                Stage::Settled(_) if entry.content != *content => return Claim::OtherContent,
                Stage::Settled(_) => {
                    if let Some(all) = entry.accepted.iter().cloned().collect() {
                        return Claim::Known(all);
                    }
                    claimed_at = entry.claimed_at;
                    accepted.clone_from(&entry.accepted);
                }
            }
        }
        let (release, released) = watch::channel(());
        let entry = Entry {
            content: content.clone(),
            claimed_at,
            accepted: accepted.clone(),
            stage: Stage::Claimed(released),
        };
        memory.entries.insert(key.clone(), entry);
        Claim::Mine(Claimed { keys: self, key: key.clone(), accepted, _release: release })
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no holder of this lock panics")
    }

    /// How many keys are held, and how many turns.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, usize) {
        let memory = self.lock();
        (memory.entries.len(), memory.order.len())
    }
}

impl Memory {
    fn settle(&mut self, key: &DedupeKey, accepted: Vec<Option<Receipt>>) {
        if accepted.iter().all(Option::is_none) {
            self.entries.remove(key);
            return;
        }
        self.turns += 1;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.accepted = accepted;
            entry.stage = Stage::Settled(self.turns);
            self.order.push_back((key.clone(), self.turns));
        }
    }

    fn forget_oldest(&mut self) {
        let Some((key, turn)) = self.order.pop_front() else { return };
        let stage = self.entries.get(&key).map(|entry| &entry.stage);
        if matches!(stage, Some(Stage::Settled(t)) if *t == turn) {
            self.entries.remove(&key);
        }
    }

    /// Whether the oldest settled key is stale, or claimed before `limit`.
    fn oldest_is_over(&self, now: Instant, window: Duration) -> bool {
        let Some((key, _)) = self.order.front() else { return false };
        let age = |entry: &Entry| now.saturating_duration_since(entry.claimed_at);
        self.entries.get(key).is_none_or(|entry| age(entry) >= window)
    }
}

// ===== impl Claimed =====

impl Claimed<'_> {
    /// What the target at `index` was answered under this key before.
    pub(super) fn earlier(&self, index: usize) -> Option<Receipt> {
        self.accepted[index].clone()
    }

    /// Remembers what the target at `index` was answered.
    pub(super) fn note(&mut self, index: usize, accepted: &Receipt) {
        self.accepted[index] = Some(accepted.clone());
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        let mut memory = self.keys.lock();
        memory.settle(&self.key, std::mem::take(&mut self.accepted));
        let now = Instant::now();
        for _ in 0..SWEEP {
            if memory.order.len() > self.keys.capacity
                || memory.oldest_is_over(now, self.keys.window)
            {
                memory.forget_oldest();
            }
        }
    }
}

impl fmt::Debug for DedupeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DedupeKey({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}
