//! Watches the states of tasks while somebody on this instance does.
//!
//! It never waits for a slow reader or for Redis with anything else: requests to Redis run beside
//! the loop, one at a time, and of a task whose event waits to be delivered only the newest counts.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::state::{self, StateError};
use super::{CeleryMetrics, CelerySettings};
use crate::event::{ConnectionId, Event};
use crate::group::GroupName;
use crate::layer::{KeyWatch, LayerError, WATCH_CHUNK, WatchEvent, WatchedKeys};
use crate::telemetry::LogLimit;

/// Changes that may wait. The loop takes them without waiting for anything.
const CHANGES: usize = 1024;

/// Updates that may wait for a shard; more are merged by task.
const UPDATES: usize = 64;

/// Members that may wait for the present state; for more, all members get it once more.
const WAITING_MEMBERS: usize = 4096;

/// Between two attempts while the result back end is away.
const RETRY: Duration = Duration::from_millis(500);

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

/// The requests to the watcher. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct TaskWatcher {
    settings: Arc<CelerySettings>,
    changes: mpsc::Sender<Change>,
}

#[derive(Debug)]
enum Change {
    Joined { group: GroupName, shard: usize, to: ConnectionId },
    Idle(Vec<GroupName>),
}

/// The tasks that are watched, and what waits.
struct Watch {
    settings: Arc<CelerySettings>,
    metrics: CeleryMetrics,
    malformed_log: LogLimit,
    tasks: HashMap<String, WatchedTask>,
    /// Tasks to be subscribed.
    unsubscribed: HashSet<String>,
    /// Keys whose subscription is to end.
    abandoned: HashSet<String>,
    outgoing: VecDeque<Outgoing>,
    waiting_members: usize,
    /// Whether the result back end answered last; `None` = not asked yet.
    is_up: Option<bool>,
}

struct WatchedTask {
    group: GroupName,
    /// The newest state; `None` = not read yet.
    latest: Option<Event>,
    /// Whether a value arrived since its subscription was requested. It is newer than the value
    /// that is read meanwhile.
    is_newer: bool,
    /// Whether its newest state waits to be delivered to all members.
    is_queued: bool,
}

enum Outgoing {
    /// The newest state of a task, to all members.
    All(String),
    /// The newest state of a task, to one member.
    One(String, usize, ConnectionId),
}

/// What was requested of Redis, when it is done.
enum Done {
    Read(Vec<String>, Result<Vec<Option<Bytes>>, LayerError>),
    Forgotten,
}

type RedisRequest = Pin<Box<dyn Future<Output = Done> + Send>>;

impl TaskWatcher {
    /// Starts watching; `None` where no result back end is configured. The future is the watcher.
    /// Must be called within a runtime.
    ///
    /// # Errors
    /// [`LayerError::Url`].
    pub(crate) fn start(
        settings: &CelerySettings,
        metrics: CeleryMetrics,
    ) -> Result<
        Option<(Self, mpsc::Receiver<TaskUpdate>, impl Future<Output = ()> + use<>)>,
        LayerError,
    > {
        let Some(redis) = &settings.results else { return Ok(None) };
        let (watch, keys) = KeyWatch::open(redis)?;
        let settings = Arc::new(settings.clone());
        let (sender, changes) = mpsc::channel(CHANGES);
        let (updates, updated) = mpsc::channel(UPDATES);
        let state = Watch::new(Arc::clone(&settings), metrics);
        let handle = Self { settings, changes: sender };
        Ok(Some((handle, updated, run(state, watch, keys, changes, updates))))
    }

    /// Whether this is the group of a task.
    pub(crate) fn is_task(&self, group: &GroupName) -> bool {
        self.settings.task_of(group).is_some()
    }

    /// This connection has joined the group of a task, and gets its state.
    pub(crate) async fn joined(&self, group: GroupName, shard: usize, to: ConnectionId) {
        // Without the watcher the process ends.
        let _ = self.changes.send(Change::Joined { group, shard, to }).await;
    }

    /// These groups, of tasks or not, have no members any more.
    pub(crate) async fn idle(&self, groups: &[GroupName]) {
        let groups: Vec<_> = groups.iter().filter(|group| self.is_task(group)).cloned().collect();
        if !groups.is_empty() {
            let _ = self.changes.send(Change::Idle(groups)).await;
        }
    }
}

async fn run(
    mut watch: Watch,
    redis: KeyWatch,
    mut keys: WatchedKeys,
    mut changes: mpsc::Receiver<Change>,
    updates: mpsc::Sender<TaskUpdate>,
) {
    let mut request: Option<RedisRequest> = None;
    let mut retry_at = Instant::now();
    loop {
        let may_ask = request.is_none() && watch.has_requests();
        if may_ask && retry_at <= Instant::now() {
            request = watch.next_request(&redis);
            continue;
        }
        tokio::select! {
            biased;
            permit = updates.reserve(), if !watch.outgoing.is_empty() => {
                let Ok(permit) = permit else { return };
                if let Some(update) = watch.next_update() {
                    permit.send(update);
                }
            }
            event = keys.next() => watch.handle(event),
            done = async { request.as_mut().expect("checked").await }, if request.is_some() => {
                request = None;
                // What arrived before the answer is newer than what was read, or the same.
                while let Some(event) = keys.try_next() {
                    watch.handle(event);
                }
                if !watch.finish(done) {
                    retry_at = Instant::now() + RETRY;
                }
            }
            change = changes.recv() => match change {
                Some(change) => watch.change(change),
                None => return,
            },
            () = sleep_until(retry_at), if may_ask => {}
        }
    }
}

impl Watch {
    fn new(settings: Arc<CelerySettings>, metrics: CeleryMetrics) -> Self {
        Self {
            settings,
            metrics,
            malformed_log: LogLimit::default(),
            tasks: HashMap::new(),
            unsubscribed: HashSet::new(),
            abandoned: HashSet::new(),
            outgoing: VecDeque::new(),
            waiting_members: 0,
            is_up: None,
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Joined { group, shard, to } => self.join(group, shard, to),
            Change::Idle(groups) => {
                for group in groups {
                    let Some(id) = self.settings.task_of(&group) else { continue };
                    if self.tasks.remove(id).is_some() {
                        self.unsubscribed.remove(id);
                        self.abandoned.insert(self.settings.key_of(id));
                    }
                }
            }
        }
        self.metrics.watched.set(self.tasks.len() as f64);
    }

    fn join(&mut self, group: GroupName, shard: usize, to: ConnectionId) {
        let Some(id) = self.settings.task_of(&group).map(str::to_owned) else { return };
        let Some(task) = self.tasks.get(&id) else {
            self.abandoned.remove(&self.settings.key_of(&id));
            self.unsubscribed.insert(id.clone());
            let task = WatchedTask { group, latest: None, is_newer: false, is_queued: false };
            self.tasks.insert(id, task);
            return;
        };
        // What is not known yet is for all members once it is.
        if task.latest.is_none() {
            return;
        }
        if self.waiting_members >= WAITING_MEMBERS {
            self.queue(&id);
        } else {
            self.waiting_members += 1;
            self.outgoing.push_back(Outgoing::One(id, shard, to));
        }
    }

    fn handle(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Interrupted => self.unsubscribed.extend(self.tasks.keys().cloned()),
            WatchEvent::Written(key, value) => {
                let Some(id) = self.settings.task_of_key(&key).map(str::to_owned) else { return };
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.is_newer = true;
                    self.take(&id, Some(&value));
                }
            }
        }
    }

    /// A new value of a task that is watched; `None` = there is none.
    fn take(&mut self, id: &str, value: Option<&Bytes>) {
        let event = match state::event(&self.settings, id, value) {
            Ok(event) => event,
            Err(error) => return self.discard(id, &error),
        };
        let Some(task) = self.tasks.get_mut(id) else { return };
        if task.latest.as_ref() != Some(&event) {
            task.latest = Some(event);
            self.queue(id);
        }
    }

    fn discard(&self, id: &str, error: &StateError) {
        self.metrics.malformed.increment(1);
        if self.malformed_log.allows() {
            let key = self.settings.key_of(id);
            tracing::warn!(key, %error, "malformed state of a task discarded");
        }
    }

    fn queue(&mut self, id: &str) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if std::mem::replace(&mut task.is_queued, true) {
            self.metrics.superseded.increment(1);
        } else {
            self.outgoing.push_back(Outgoing::All(id.to_owned()));
        }
    }

    /// The next state to be delivered, as it is now.
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

    fn has_requests(&self) -> bool {
        !self.unsubscribed.is_empty() || !self.abandoned.is_empty()
    }

    /// Subscribes some of the tasks, or ends the subscription of some.
    fn next_request(&mut self, redis: &KeyWatch) -> Option<RedisRequest> {
        let redis = redis.clone();
        let ids: Vec<_> = self.unsubscribed.iter().take(WATCH_CHUNK).cloned().collect();
        if ids.is_empty() {
            let keys: Vec<_> = self.abandoned.iter().take(WATCH_CHUNK).cloned().collect();
            for key in &keys {
                self.abandoned.remove(key);
            }
            return Some(Box::pin(async move {
                // A failure means that the connection was lost, and its subscriptions with it.
                let _ = redis.forget(keys).await;
                Done::Forgotten
            }));
        }
        for id in &ids {
            self.unsubscribed.remove(id);
            if let Some(task) = self.tasks.get_mut(id) {
                task.is_newer = false;
            }
        }
        let keys: Vec<_> = ids.iter().map(|id| self.settings.key_of(id)).collect();
        Some(Box::pin(async move {
            let values = redis.watch(&keys).await;
            Done::Read(ids, values)
        }))
    }

    /// Returns whether the next request may follow at once.
    fn finish(&mut self, done: Done) -> bool {
        match done {
            Done::Forgotten => true,
            Done::Read(ids, Ok(values)) => {
                self.answered(None);
                for (id, value) in ids.iter().zip(&values) {
                    if self.tasks.get(id).is_some_and(|task| !task.is_newer) {
                        self.take(id, value.as_ref());
                    }
                }
                true
            }
            Done::Read(ids, Err(error)) => {
                self.answered(Some(&error));
                let tasks = &self.tasks;
                self.unsubscribed.extend(ids.into_iter().filter(|id| tasks.contains_key(id)));
                false
            }
        }
    }

    /// Logs when the result back end stops answering, and when it answers again.
    fn answered(&mut self, error: Option<&LayerError>) {
        let is_up = error.is_none();
        if self.is_up.replace(is_up) == Some(is_up) {
            return;
        }
        self.metrics.up.set(if is_up { 1.0 } else { 0.0 });
        match error {
            Some(error) => tracing::warn!(%error, "celery's result back end does not answer"),
            None => tracing::info!("celery's result back end answers"),
        }
    }
}
