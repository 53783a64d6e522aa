//! The history of one group within a process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::clock::unix_seconds;
use crate::event::{Position, Publication, Recovery};
use crate::layer::history::{NUMBERING, Retention, random_epoch};

/// The newest publications of a group, numbered.
#[derive(Debug)]
pub(super) struct Ring {
    kept: Retention,
    newest: Position,
    publications: VecDeque<Arc<Publication>>,
    touched: Instant,
    /// The second of its first publication.
    pub(super) began: u64,
}

impl Ring {
    pub(super) fn new(kept: Retention, now: Instant) -> Self {
        // Generation 0 is this process: its numberings do not outlive it.
        let epoch = format!("0.{}", random_epoch()).into();
        let newest = Position { epoch, offset: 0 };
        Self { kept, newest, publications: VecDeque::new(), touched: now, began: unix_seconds() }
    }

    /// Gives `publication` the next position and keeps it.
    pub(super) fn append(
        &mut self,
        mut publication: Publication,
        now: Instant,
    ) -> Arc<Publication> {
        self.newest.offset += 1;
        self.touched = now;
        publication.position = Some(self.newest.clone());
        let publication = Arc::new(publication);
        self.publications.push_back(Arc::clone(&publication));
        if self.publications.len() > self.kept.size as usize {
            self.publications.pop_front();
        }
        self.forget(now);
        publication
    }

    /// The group's position, and the publications after `since` if all of them are kept: of this
    /// epoch, or from before any publication.
    pub(super) fn recover(
        &mut self,
        since: Option<&Position>,
        is_complete: bool,
        now: Instant,
    ) -> Recovery {
        self.touched = now;
        self.forget(now);
        let Some(since) = since else {
            return Recovery { position: Some(self.newest.clone()), ..Recovery::default() };
        };
        let missed = self.newest.offset.checked_sub(since.offset);
        let missed = missed.filter(|missed| {
            (is_complete || since.epoch == self.newest.epoch)
                && *missed <= self.publications.len() as u64
        });
        let Some(missed) = missed else {
            return Recovery::incomplete(self.newest.clone());
        };
        let first = self.publications.len() - missed as usize;
        let replay = self.publications.range(first..).cloned().collect();
        Recovery::complete(self.newest.clone(), since, replay)
    }

    /// Whether even the numbering has expired.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.touched) > self.kept.ttl + NUMBERING
    }

    fn forget(&mut self, now: Instant) {
        let ttl = self.kept.ttl;
        let old = |p: &Arc<Publication>| now.saturating_duration_since(p.accepted) > ttl;
        while self.publications.front().is_some_and(old) {
            self.publications.pop_front();
        }
    }
}
