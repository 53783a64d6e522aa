//! The record of workers: who is alive, and what became of the tasks of each name.
//!
//! It is bounded whatever workers report, and forgotten with the process. Worker events are lost
//! while the broker is away, so its counts are those of the events that were heard.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::worker_event::WorkerEvent;
use crate::bounded_map::{BoundedMap, MapLimits};
use crate::excerpt::excerpt;
use crate::telemetry::Gauge;

/// Workers and names of tasks that are kept, each. Later ones are not.
const MAX_WORKERS: usize = 500;
const MAX_NAMES: usize = 500;

/// Tasks whose name is remembered, the oldest forgotten first: only the first event has it.
const TASKS: MapLimits = MapLimits { entries: 20_000, bytes: 16 * 1024 * 1024 };

/// Tasks of a snapshot, the newest.
const SHOWN_TASKS: usize = 200;

/// Longest name of a worker or task, characters, and longest id of a task, bytes.
const MAX_NAME: usize = 200;

/// Heartbeats that may be missed, and the shortest silence that means anything.
const MISSED: f64 = 3.0;
const MIN_SILENCE: f64 = 10.0;

/// Parts of the minute that rates are of.
const PARTS: usize = 6;
const PART: Duration = Duration::from_secs(10);

/// What is known of workers. Clones share it; nobody holds it for longer than one event.
#[derive(Clone)]
pub(crate) struct WorkerRecord {
    record: Arc<Mutex<Record>>,
    alive: Gauge,
}

struct Record {
    began: Instant,
    workers: HashMap<Arc<str>, Worker>,
    names: HashMap<Arc<str>, TaskName>,
    tasks: BoundedMap<String, SeenTask>,
    /// Events of tasks that were heard.
    heard: u64,
}

/// What workers have reported, at one moment.
#[derive(Debug, Default, Serialize)]
pub(crate) struct WorkersSnapshot {
    /// By name.
    pub(crate) workers: Vec<WorkerStatus>,
    /// By name.
    pub(crate) names: Vec<TaskNameStatus>,
    /// The newest event first.
    pub(crate) tasks: Vec<TaskStatus>,
}

/// A worker.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WorkerStatus {
    /// As `celery@host`.
    pub(crate) name: String,
    /// Whether it has sent something lately, and has not said that it ends.
    pub(crate) is_alive: bool,
    /// Seconds since its last event.
    pub(crate) silent: f64,
    /// Tasks that it is carrying out.
    pub(crate) active: Option<u64>,
    /// Tasks that it has begun since it started.
    pub(crate) processed: Option<u64>,
    /// Of its machine, within the last minute.
    pub(crate) load: Option<f64>,
    /// Of its Celery.
    pub(crate) version: Option<String>,
}

/// What became of the tasks of one name, since this process began to listen.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TaskNameStatus {
    pub(crate) name: String,
    pub(crate) received: u64,
    pub(crate) succeeded: u64,
    /// Failed, rejected or revoked.
    pub(crate) failed: u64,
    pub(crate) retried: u64,
    /// Ended within the last minute, in whatever way.
    pub(crate) per_minute: u64,
    /// Failed within the last minute.
    pub(crate) failed_per_minute: u64,
    /// Mean of those that succeeded, seconds.
    pub(crate) mean_runtime: Option<f64>,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskStatus {
    pub(crate) id: String,
    /// `None` = it was received before this process listened.
    pub(crate) name: Option<String>,
    pub(crate) worker: String,
    pub(crate) state: String,
    /// When it came into that state, seconds since 1970 by the worker's clock.
    pub(crate) at: f64,
    /// Seconds, of one that succeeded.
    pub(crate) runtime: Option<f64>,
}

struct Worker {
    heard: Instant,
    has_ended: bool,
    /// Seconds of silence after which it counts as gone.
    patience: f64,
    active: Option<u64>,
    processed: Option<u64>,
    load: Option<f64>,
    version: Option<String>,
}

#[derive(Default)]
struct TaskName {
    received: u64,
    succeeded: u64,
    failed: u64,
    retried: u64,
    runtime: f64,
    ended_lately: Rate,
    failed_lately: Rate,
}

struct SeenTask {
    name: Option<Arc<str>>,
    worker: Arc<str>,
    state: String,
    at: f64,
    runtime: Option<f64>,
}

/// Events within the last minute, by parts of it.
#[derive(Default)]
struct Rate {
    parts: [u64; PARTS],
    /// The number of the newest part.
    newest: u64,
}

impl WorkerRecord {
    /// An empty one; the gauge is the number of workers alive.
    pub(super) fn new(alive: Gauge) -> Self {
        let record = Record {
            began: Instant::now(),
            workers: HashMap::new(),
            names: HashMap::new(),
            tasks: BoundedMap::new(TASKS),
            heard: 0,
        };
        Self { record: Arc::new(Mutex::new(record)), alive }
    }

    /// Takes an event.
    pub(super) fn note(&self, event: &WorkerEvent<'_>) {
        let mut record = self.record.lock();
        // Processes that start tasks are no workers.
        if matches!(&*event.r#type, "task-sent" | "task-set") {
            return;
        }
        let Some(worker) = record.hear(event, Instant::now()) else { return };
        if event.r#type.starts_with("worker-") {
            self.alive.set(record.alive(Instant::now()) as f64);
        } else {
            record.task(event, worker);
        }
    }

    /// Events of tasks that were heard: as long as it is the same, so are the newest tasks.
    pub(super) fn heard(&self) -> u64 {
        self.record.lock().heard
    }

    /// Takes the newest tasks of an earlier process, the newest first. What was heard since is
    /// newer.
    pub(super) fn restore(&self, earlier: Vec<TaskStatus>) {
        let mut record = self.record.lock();
        let newer: Vec<_> = record.tasks.newest().map(|(id, _)| id.clone()).collect();
        let mut heard = std::mem::replace(&mut record.tasks, BoundedMap::new(TASKS));
        for task in earlier.into_iter().rev().filter(|task| heard.get(&task.id).is_none()) {
            record.keep(task.id.clone(), SeenTask::from(task));
        }
        for id in newer.into_iter().rev() {
            if let Some(task) = heard.remove(&id) {
                record.keep(id, task);
            }
        }
    }

    /// What is known now.
    pub(crate) fn snapshot(&self) -> WorkersSnapshot {
        let now = Instant::now();
        let record = self.record.lock();
        let workers = record.workers.iter().map(|(name, worker)| worker.status(name, now));
        let part = record.part(now);
        let names = record.names.iter().map(|(name, tasks)| tasks.status(name, part));
        let tasks = record.tasks.newest().take(SHOWN_TASKS).map(|(id, task)| task.status(id));
        let mut snapshot = WorkersSnapshot {
            workers: workers.collect(),
            names: names.collect(),
            tasks: tasks.collect(),
        };
        drop(record);
        snapshot.workers.sort_by(|one, other| one.name.cmp(&other.name));
        snapshot.names.sort_by(|one, other| one.name.cmp(&other.name));
        snapshot
    }
}

impl Record {
    /// The worker that sent an event; `None` = it says none, or there are too many.
    fn hear(&mut self, event: &WorkerEvent<'_>, now: Instant) -> Option<Arc<str>> {
        let name: Arc<str> = excerpt(&event.worker()?, MAX_NAME).into();
        if self.workers.len() >= MAX_WORKERS && !self.workers.contains_key(&name) {
            self.workers.retain(|_, worker| worker.is_alive(now));
            if self.workers.len() >= MAX_WORKERS {
                return None;
            }
        }
        let worker = self.workers.entry(Arc::clone(&name)).or_insert_with(|| Worker::new(now));
        worker.hear(event, now);
        Some(name)
    }

    fn alive(&self, now: Instant) -> usize {
        self.workers.values().filter(|worker| worker.is_alive(now)).count()
    }

    fn task(&mut self, event: &WorkerEvent<'_>, worker: Arc<str>) {
        let (Some(id), Some(state)) = (&event.uuid, event.state()) else { return };
        if id.len() > MAX_NAME || state.len() > MAX_NAME {
            return;
        }
        let known = self.tasks.remove(&**id);
        let name = self.name(event).or_else(|| known?.name);
        let part = self.part(Instant::now());
        if let Some(tasks) = name.as_ref().and_then(|name| self.names.get_mut(name)) {
            tasks.count(event, part);
        }
        let (state, runtime) = (state.into_owned(), event.runtime());
        self.heard += 1;
        self.keep(id.to_string(), SeenTask { name, worker, state, at: event.at(), runtime });
    }

    fn keep(&mut self, id: String, task: SeenTask) {
        let bytes = id.len() + task.state.len() + size_of::<SeenTask>();
        self.tasks.insert(id, task, bytes);
    }

    /// The name of an event's task, if it says one.
    fn name(&mut self, event: &WorkerEvent<'_>) -> Option<Arc<str>> {
        let name = excerpt(&event.task_name()?, MAX_NAME);
        if let Some((known, _)) = self.names.get_key_value(&*name) {
            return Some(Arc::clone(known));
        }
        let name: Arc<str> = name.into();
        if self.names.len() < MAX_NAMES {
            self.names.insert(Arc::clone(&name), TaskName::default());
        }
        Some(name)
    }

    fn part(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / PART.as_secs()
    }
}

impl Worker {
    fn new(heard: Instant) -> Self {
        let (active, processed, load, version) = Default::default();
        let patience = MIN_SILENCE;
        Self { heard, has_ended: false, patience, active, processed, load, version }
    }

    fn hear(&mut self, event: &WorkerEvent<'_>, now: Instant) {
        self.heard = now;
        self.has_ended = &*event.r#type == "worker-offline";
        if !event.r#type.starts_with("worker-") {
            return;
        }
        if let Some(period) = event.heartbeat() {
            self.patience = (period * MISSED).max(MIN_SILENCE);
        }
        let (active, processed) = event.counts();
        self.active = active.or(self.active);
        self.processed = processed.or(self.processed);
        self.load = event.load().or(self.load);
        if let Some(version) = event.version() {
            self.version = Some(excerpt(&version, MAX_NAME));
        }
    }

    fn silent(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.heard).as_secs_f64()
    }

    fn is_alive(&self, now: Instant) -> bool {
        !self.has_ended && self.silent(now) <= self.patience
    }

    fn status(&self, name: &str, now: Instant) -> WorkerStatus {
        WorkerStatus {
            name: name.to_owned(),
            is_alive: self.is_alive(now),
            silent: self.silent(now),
            active: self.active,
            processed: self.processed,
            load: self.load,
            version: self.version.clone(),
        }
    }
}

impl TaskName {
    fn count(&mut self, event: &WorkerEvent<'_>, part: u64) {
        match &*event.r#type {
            "task-received" => self.received += 1,
            "task-retried" => self.retried += 1,
            "task-succeeded" => {
                self.succeeded += 1;
                self.runtime += event.runtime().unwrap_or_default();
            }
            _ if event.is_final() => {
                self.failed += 1;
                self.failed_lately.add(part);
            }
            _ => {}
        }
        if event.is_final() {
            self.ended_lately.add(part);
        }
    }

    fn status(&self, name: &str, part: u64) -> TaskNameStatus {
        TaskNameStatus {
            name: name.to_owned(),
            received: self.received,
            succeeded: self.succeeded,
            failed: self.failed,
            retried: self.retried,
            per_minute: self.ended_lately.sum(part),
            failed_per_minute: self.failed_lately.sum(part),
            mean_runtime: (self.succeeded > 0).then(|| self.runtime / self.succeeded as f64),
        }
    }
}

impl SeenTask {
    fn status(&self, id: &str) -> TaskStatus {
        TaskStatus {
            id: id.to_owned(),
            name: self.name.as_deref().map(str::to_owned),
            worker: (*self.worker).to_owned(),
            state: self.state.clone(),
            at: self.at,
            runtime: self.runtime,
        }
    }
}

impl From<TaskStatus> for SeenTask {
    fn from(task: TaskStatus) -> Self {
        let TaskStatus { id: _, name, worker, state, at, runtime } = task;
        Self { name: name.map(Into::into), worker: worker.into(), state, at, runtime }
    }
}

impl Rate {
    fn add(&mut self, part: u64) {
        for passed in (self.newest + 1..=part).rev().take(PARTS) {
            self.parts[passed as usize % PARTS] = 0;
        }
        self.newest = part;
        self.parts[part as usize % PARTS] += 1;
    }

    fn sum(&self, part: u64) -> u64 {
        let oldest = (part + 1).saturating_sub(PARTS as u64);
        let within = oldest..=self.newest;
        within.map(|part| self.parts[part as usize % PARTS]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str, state: &str) -> TaskStatus {
        TaskStatus {
            id: id.to_owned(),
            name: Some("photos.cut".to_owned()),
            worker: "celery@a".to_owned(),
            state: state.to_owned(),
            at: 5.0,
            runtime: None,
        }
    }

    #[test]
    fn what_an_earlier_process_knew_is_older_than_what_was_heard_since() {
        let record = WorkerRecord::new(Gauge::noop());
        let body = br#"{"type":"task-started","uuid":"b","hostname":"celery@a","timestamp":9}"#;
        for event in crate::celery::worker_event::events(body).unwrap() {
            record.note(&event.unwrap());
        }
        let earlier = vec![known("c", "SUCCESS"), known("b", "RECEIVED"), known("a", "FAILURE")];
        record.restore(earlier);
        let tasks = record.snapshot().tasks;
        let ids: Vec<_> = tasks.iter().map(|task| (&*task.id, &*task.state)).collect();
        assert_eq!(ids, [("b", "STARTED"), ("c", "SUCCESS"), ("a", "FAILURE")]);
        assert_eq!(tasks[1..], [known("c", "SUCCESS"), known("a", "FAILURE")]);
    }

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let mut rate = Rate::default();
        for part in [0, 0, 1, 5] {
            rate.add(part);
        }
        assert_eq!([5, 6, 7, 10, 11, 99].map(|part| rate.sum(part)), [4, 2, 1, 1, 0, 0]);
        rate.add(40);
        assert_eq!([40, 45, 46].map(|part| rate.sum(part)), [1, 1, 0]);
    }
}
