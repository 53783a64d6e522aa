//! The tasks that are watched here, their newest states, and what waits to be delivered.
//!
//! Of a task whose event waits to be delivered only the newest counts, so what waits is bounded by
//! the number of tasks, however often they report.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::sets::{Children, Contents, TaskSets};
use super::start::Quotas;
use super::started::StartedTasks;
use super::state::{Shown, Stage};
use super::{CeleryMetrics, CelerySettings};
use crate::event::{ConnectionId, Event};
use crate::group::GroupName;

/// Members that may wait for the present state; for more, all members get it once more.
const WAITING_MEMBERS: usize = 4096;

/// The state of a task, to be delivered to members of its group on this instance.
#[derive(Debug)]
pub(crate) struct TaskUpdate {
    /// The task's group.
    pub(crate) group: GroupName,
    /// Only this member, on this shard; `None` = all members.
    pub(crate) to: Option<(usize, ConnectionId)>,
    /// The state.
    pub(crate) event: Event,
}

/// A change of who watches.
#[derive(Debug)]
pub(super) enum Change {
    /// This connection has joined the group of a task.
    Joined { group: GroupName, shard: usize, to: ConnectionId },
    /// These groups of tasks have no members any more.
    Idle(Vec<GroupName>),
    /// This task is started for a browser, and counts until it has ended.
    Started(String),
    /// It was not started.
    NotStarted(String),
}

/// The tasks with members on this instance.
pub(super) struct WatchedTasks {
    pub(super) settings: Arc<CelerySettings>,
    pub(super) metrics: CeleryMetrics,
    tasks: HashMap<String, WatchedTask>,
    sets: TaskSets,
    /// Tasks that are watched until they end, with the time of their start.
    started: StartedTasks,
    outgoing: VecDeque<Outgoing>,
    waiting_members: usize,
}

struct WatchedTask {
    group: GroupName,
    /// The newest state; `None` = not known yet.
    latest: Option<Event>,
    /// Whether it has told something of its own, which comes before the count of its set.
    leads: bool,
    /// Whether its newest state waits to be delivered to all members.
    is_queued: bool,
    /// Whether it has members.
    has_members: bool,
}

/// How a state became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It was told as it happened.
    Happened,
    /// It was looked up, and may be known.
    Read,
}

enum Outgoing {
    /// The newest state of a task, to all members.
    All(String),
    /// The newest state of a task, to one member.
    One(String, usize, ConnectionId),
}

/// How the set of watched tasks has changed.
pub(super) enum TaskChange {
    /// This task was not watched before.
    Begun(String),
    /// These are not watched any more, and these are of no use: they were part of a set, or were
    /// watched and belong to none.
    Ended { tasks: Vec<String>, useless: Vec<String> },
}

impl WatchedTask {
    fn new(group: GroupName, has_members: bool) -> Self {
        Self { group, latest: None, leads: false, is_queued: false, has_members }
    }
}

impl WatchedTasks {
    pub(super) fn new(
        settings: Arc<CelerySettings>,
        metrics: CeleryMetrics,
        quotas: Quotas,
    ) -> Self {
        Self {
            settings,
            metrics,
            tasks: HashMap::new(),
            sets: TaskSets::default(),
            started: StartedTasks::new(quotas),
            outgoing: VecDeque::new(),
            waiting_members: 0,
        }
    }

    /// Whether a task is watched.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.tasks.contains_key(id)
    }

    /// Whether a task is watched, by itself or within a set.
    pub(super) fn needs(&self, id: &str) -> bool {
        self.contains(id) || self.sets.has_child(id)
    }

    /// The tasks that are watched.
    pub(super) fn ids(&self) -> impl Iterator<Item = &String> {
        self.tasks.keys()
    }

    /// The tasks that are watched within sets.
    pub(super) fn children(&self) -> impl Iterator<Item = &String> {
        self.sets.children()
    }

    /// Members came or went.
    pub(super) fn change(&mut self, change: Change) -> Option<TaskChange> {
        let change = match change {
            Change::Joined { group, shard, to } => self.join(group, shard, to),
            Change::Idle(groups) => {
                let ids: Vec<_> = groups
                    .iter()
                    .filter_map(|group| self.settings.task_of(group))
                    .map(str::to_owned)
                    .collect();
                Some(self.leave(ids))
            }
            Change::Started(id) => self.start(id),
            Change::NotStarted(id) => {
                self.started.end(&id);
                self.take_finished()
            }
        };
        self.metrics.watched.set(self.tasks.len() as f64);
        change
    }

    fn join(&mut self, group: GroupName, shard: usize, to: ConnectionId) -> Option<TaskChange> {
        let id = self.settings.task_of(&group)?.to_owned();
        let Some(task) = self.tasks.get_mut(&id) else {
            self.tasks.insert(id.clone(), WatchedTask::new(group, true));
            return Some(TaskChange::Begun(id));
        };
        task.has_members = true;
        // What is not known yet is for all members once it is.
        task.latest.as_ref()?;
        if self.waiting_members >= WAITING_MEMBERS {
            self.queue(&id);
        } else {
            self.waiting_members += 1;
            self.outgoing.push_back(Outgoing::One(id, shard, to));
        }
        None
    }

    fn start(&mut self, id: String) -> Option<TaskChange> {
        let group = self.settings.group_of(&id)?;
        self.started.begin(id.clone(), Instant::now());
        if self.tasks.contains_key(&id) {
            return None;
        }
        self.tasks.insert(id.clone(), WatchedTask::new(group, false));
        Some(TaskChange::Begun(id))
    }

    /// These have no members any more. Those that count are watched further.
    fn leave(&mut self, ids: Vec<String>) -> TaskChange {
        let mut ended = Vec::new();
        for id in ids {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            task.has_members = false;
            if !self.started.contains(&id) {
                self.tasks.remove(&id);
                ended.push(id);
            }
        }
        self.end(ended)
    }

    /// What is watched no more since tasks without members have ended; `None` = nothing.
    pub(super) fn take_finished(&mut self) -> Option<TaskChange> {
        let mut finished = self.started.take_ended();
        finished.retain(|id| self.tasks.get(id).is_some_and(|task| !task.has_members));
        finished.iter().for_each(|id| drop(self.tasks.remove(id)));
        (!finished.is_empty()).then(|| self.end(finished))
    }

    fn end(&mut self, tasks: Vec<String>) -> TaskChange {
        let mut useless: Vec<_> = tasks.iter().flat_map(|id| self.sets.end(id)).collect();
        useless.extend(tasks.iter().cloned());
        useless.retain(|id| !self.needs(id));
        TaskChange::Ended { tasks, useless }
    }

    /// A task that is watched is a set of these.
    pub(super) fn consists_of(&mut self, id: &str, contents: Contents) -> Children {
        let mut children = self.sets.set(id, contents);
        children.dropped.retain(|id| !self.tasks.contains_key(id));
        self.show_count(id);
        children
    }

    /// The state of a task that may be watched, by itself or within a set.
    pub(super) fn update(&mut self, id: &str, shown: Shown, news: News) {
        for set in self.sets.note(id, Some(shown.stage)) {
            self.show_count(&set);
        }
        if shown.stage.is_end() {
            self.started.end(id);
        }
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.leads = shown.stage != Stage::Waiting;
        if task.leads || !self.sets.contains(id) {
            if shown.is_retry && news == News::Happened {
                task.latest = None;
            }
            self.show(id, shown.event);
        } else {
            self.show_count(id);
        }
    }

    /// Nothing is known about this task, which is no error of the sets that it belongs to.
    pub(super) fn unreadable(&mut self, id: &str) {
        for set in self.sets.note(id, None) {
            self.show_count(&set);
        }
    }

    /// Shows how many tasks of a set have ended, unless the set has told something of its own.
    fn show_count(&mut self, id: &str) {
        if self.tasks.get(id).is_some_and(|task| !task.leads)
            && let Some(event) = self.sets.event(id)
        {
            self.show(id, event);
        }
    }

    /// Shows an event. One that is already known is not repeated.
    fn show(&mut self, id: &str, event: Event) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if task.latest.as_ref() != Some(&event) {
            task.latest = Some(event);
            self.queue(id);
        }
    }

    fn queue(&mut self, id: &str) {
        let Some(task) = self.tasks.get_mut(id).filter(|task| task.has_members) else { return };
        if std::mem::replace(&mut task.is_queued, true) {
            self.metrics.superseded.increment(1);
        } else {
            self.outgoing.push_back(Outgoing::All(id.to_owned()));
        }
    }

    pub(super) fn has_updates(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Hands over the next state, as it is now.
    pub(super) fn hand_over(&mut self, permit: mpsc::Permit<'_, TaskUpdate>) {
        if let Some(update) = self.next_update() {
            permit.send(update);
        }
    }

    fn next_update(&mut self) -> Option<TaskUpdate> {
        let (id, to) = match self.outgoing.pop_front()? {
            Outgoing::All(id) => (id, None),
            Outgoing::One(id, shard, to) => {
                self.waiting_members -= 1;
                (id, Some((shard, to)))
            }
        };
        let task = self.tasks.get_mut(&id)?;
        if to.is_none() {
            task.is_queued = false;
        }
        let event = task.latest.clone()?;
        self.metrics.states.increment(1);
        Some(TaskUpdate { group: task.group.clone(), to, event })
    }
}
