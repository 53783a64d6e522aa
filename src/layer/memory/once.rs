//! The marks of publications that were sent under a key, within a process.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::{Position, PublicationId};
use crate::layer::{Digest, OnceKey, OnceOutcome, WhenFull};

/// The marks of all scopes.
#[derive(Debug, Default)]
pub(super) struct OnceTable(HashMap<Arc<str>, Marks>);

/// The marks of one scope.
#[derive(Debug, Default)]
struct Marks {
    marks: HashMap<Digest, SentKey>,
    /// In the order in which they expire.
    order: VecDeque<(Instant, Digest)>,
}

#[derive(Debug)]
struct SentKey {
    content: Digest,
    id: PublicationId,
    position: Option<Position>,
}

/// New scopes between two searches for those without marks.
const SWEEP: usize = 1024;

impl OnceTable {
    /// The outcome of a publication that is not to be sent; `None` = send it.
    pub(super) fn outcome(
        &mut self,
        key: &OnceKey,
        mark: Digest,
        now: Instant,
    ) -> Option<OnceOutcome> {
        let scope = self.0.get_mut(&key.scope)?;
        scope.forget(now);
        match scope.marks.get(&mark) {
            Some(earlier) if earlier.content != key.content => Some(OnceOutcome::OtherContent),
            Some(SentKey { id, position, .. }) => {
                Some(OnceOutcome::Earlier { id: *id, position: position.clone() })
            }
            None if scope.marks.len() >= key.capacity as usize => match key.when_full {
                WhenFull::Refuse => Some(OnceOutcome::ScopeFull),
                WhenFull::ForgetOldest => {
                    scope.forget_oldest();
                    None
                }
            },
            None => None,
        }
    }

    /// Marks a publication that is being sent.
    pub(super) fn mark(
        &mut self,
        key: &OnceKey,
        mark: Digest,
        sent: (PublicationId, Option<Position>),
        window: Duration,
        now: Instant,
    ) {
        if self.0.len() % SWEEP == SWEEP - 1 && !self.0.contains_key(&key.scope) {
            self.0.retain(|_, scope| {
                scope.forget(now);
                !scope.marks.is_empty()
            });
        }
        let scope = self.0.entry(Arc::clone(&key.scope)).or_default();
        let (id, position) = sent;
        scope.marks.insert(mark, SentKey { content: key.content, id, position });
        scope.order.push_back((now + window, mark));
    }
}

impl Marks {
    fn forget_oldest(&mut self) {
        if let Some((_, mark)) = self.order.pop_front() {
            self.marks.remove(&mark);
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some((expires, mark)) = self.order.front()
            && *expires <= now
        {
            self.marks.remove(mark);
            self.order.pop_front();
        }
    }
}
