//! Groups, chords and chains: which tasks they consist of, and how many of those have ended.

use std::collections::HashMap;

use serde::Deserialize;
use serde::Serialize;
use serde::de::IgnoredAny;

use super::state::{Stage, StateError};
use crate::event::Event;

/// Tasks of one set, at most: each is a subscription of its own while the set is watched.
const MAX_CHILDREN: usize = 10_000;

/// The sets that are watched here.
#[derive(Default)]
pub(super) struct TaskSets {
    sets: HashMap<String, TaskSet>,
    /// By task: the sets that it belongs to.
    sets_of: HashMap<String, Vec<String>>,
}

#[derive(Default)]
struct TaskSet {
    /// `None` = not read yet.
    children: HashMap<String, Option<Stage>>,
    count: Count,
    unread: usize,
    has_last: bool,
}

/// What a set consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) tasks: Vec<String>,
    /// Whether a task of the set's own id follows, as that of a chord does: with it the set ends.
    pub(super) has_last: bool,
}

/// How many tasks of a set have ended. The names are those that progress bars know.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    /// Ended, in whatever way.
    current: usize,
    total: usize,
    /// Of those that ended: failed or revoked.
    failed: usize,
}

/// Which tasks are counted from now on, and which belong to no set any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Children {
    pub(super) added: Vec<String>,
    pub(super) dropped: Vec<String>,
}

impl TaskSets {
    /// This set consists of these tasks. Of those that it had before, the stages are kept.
    pub(super) fn set(&mut self, id: &str, contents: Contents) -> Children {
        let mut before = self.sets.remove(id).unwrap_or_default().children;
        let mut set = TaskSet { has_last: contents.has_last, ..TaskSet::default() };
        let mut added = Vec::new();
        for task in contents.tasks {
            let known = before.remove(&task);
            if known.is_none() && !set.children.contains_key(&task) {
                self.sets_of.entry(task.clone()).or_default().push(id.to_owned());
                added.push(task.clone());
            }
            set.children.entry(task).or_insert(known.flatten());
        }
        set.recount();
        self.sets.insert(id.to_owned(), set);
        Children { added, dropped: self.leave(id, before.into_keys()) }
    }

    /// This set is not watched any more; returns the tasks that belong to no other.
    pub(super) fn end(&mut self, id: &str) -> Vec<String> {
        let Some(set) = self.sets.remove(id) else { return Vec::new() };
        self.leave(id, set.children.into_keys())
    }

    fn leave(&mut self, set: &str, tasks: impl Iterator<Item = String>) -> Vec<String> {
        let mut dropped = Vec::new();
        for task in tasks {
            if let Some(sets) = self.sets_of.get_mut(&task) {
                sets.retain(|other| other != set);
                if sets.is_empty() {
                    self.sets_of.remove(&task);
                    dropped.push(task);
                }
            }
        }
        dropped
    }

    /// Whether a task belongs to a set.
    pub(super) fn has_child(&self, task: &str) -> bool {
        self.sets_of.contains_key(task)
    }

    /// The tasks that belong to sets.
    pub(super) fn children(&self) -> impl Iterator<Item = &String> {
        self.sets_of.keys()
    }

    /// Notes the stage of a task, or that it cannot be read; returns the sets whose count has
    /// changed.
    pub(super) fn note(&mut self, task: &str, stage: Option<Stage>) -> Vec<String> {
        let mut changed = Vec::new();
        for id in self.sets_of.get(task).into_iter().flatten() {
            if let Some(set) = self.sets.get_mut(id)
                && set.note(task, stage)
            {
                changed.push(id.clone());
            }
        }
        changed
    }

    /// Whether this is a set with tasks.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.sets.get(id).is_some_and(|set| set.count.total > 0)
    }

    /// The event of a set as a whole; `None` = this is none, or has tasks that were not read yet:
    /// a bar that jumps back to nothing, when the page is opened again, is of no use.
    pub(super) fn event(&self, id: &str) -> Option<Event> {
        let set = self.sets.get(id).filter(|set| set.unread == 0)?;
        let (state, count) = (set.state()?, set.count);
        let event = CountEvent { r#type: "task.state", id, state, progress: count };
        Event::parse(serde_json::to_vec(&event).ok()?.into()).ok()
    }
}

#[derive(Serialize)]
struct CountEvent<'a> {
    r#type: &'static str,
    id: &'a str,
    state: &'static str,
    progress: Count,
}

impl TaskSet {
    /// Returns whether the count has changed.
    fn note(&mut self, task: &str, stage: Option<Stage>) -> bool {
        let before = (self.count, self.unread);
        if let Some(known) = self.children.get_mut(task) {
            // What cannot be read is as it was.
            let stage = stage.or(*known).unwrap_or(Stage::Waiting);
            match known.replace(stage) {
                Some(known) => self.count.subtract(known),
                None => self.unread -= 1,
            }
            self.count.add(stage);
        }
        (self.count, self.unread) != before
    }

    fn recount(&mut self) {
        self.count = Count { total: self.children.len(), ..Count::default() };
        self.children.values().flatten().for_each(|stage| self.count.add(*stage));
        self.unread = self.children.values().filter(|stage| stage.is_none()).count();
    }

    /// A group fails once all of it has ended: until then, the others still count.
    fn state(&self) -> Option<&'static str> {
        match self.count {
            Count { total: 0, .. } => None,
            // What follows a step that failed is never begun, the last task among it.
            Count { failed: 1.., .. } if self.has_last => Some("FAILURE"),
            Count { current, total, .. } if current < total || self.has_last => Some("PROGRESS"),
            Count { failed: 0, .. } => Some("SUCCESS"),
            _ => Some("FAILURE"),
        }
    }
}

impl Count {
    fn add(&mut self, stage: Stage) {
        self.current += usize::from(stage.is_end());
        self.failed += usize::from(stage == Stage::Failed);
    }

    fn subtract(&mut self, stage: Stage) {
        self.current -= usize::from(stage.is_end());
        self.failed -= usize::from(stage == Stage::Failed);
    }
}

/// What `GroupResult.save()` stores, and the helper.
#[derive(Deserialize)]
struct StoredSet {
    result: ResultNode,
    /// The helper's, of a chord or chain.
    #[serde(default)]
    has_last: bool,
}

/// A result as Celery's `as_tuple` gives it: its id and parent, then its children, if it has some.
#[derive(Deserialize)]
struct ResultNode((String, IgnoredAny), Option<Vec<ResultNode>>);

/// What a stored set consists of; the tasks of sets within it count one by one.
pub(super) fn contents(value: &[u8]) -> Result<Contents, StateError> {
    if let Some(first) = value.first().filter(|first| **first != b'{') {
        return Err(StateError::NotJson(*first));
    }
    let stored: StoredSet = serde_json::from_slice(value)
        .map_err(|error| StateError::Malformed(format!("it is no set of tasks: {error}")))?;
    let mut tasks = Vec::new();
    let mut nodes: Vec<_> = stored.result.1.unwrap_or_default();
    while let Some(ResultNode((id, _), children)) = nodes.pop() {
        match children {
            Some(children) => nodes.extend(children),
            None => tasks.push(id),
        }
    }
    let count = tasks.len();
    if count > MAX_CHILDREN {
        let why = format!("it has {count} tasks; at most {MAX_CHILDREN} are counted");
        return Err(StateError::Malformed(why));
    }
    Ok(Contents { tasks, has_last: stored.has_last })
}
