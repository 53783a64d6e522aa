//! States from the events of workers, for sites whose result back end nobody else can read.
//!
//! Nobody keeps them, so the newest states of recent tasks are remembered here, for who comes
//! later. What happened while the subscription was interrupted is lost: a final state that was
//! missed never comes.

use std::future::Future;

use tokio::sync::mpsc;

use super::CeleryMetrics;
use super::availability::Availability;
use super::event_reader::EventReader;
use super::feed::EventFeed;
use super::sets::{Contents, contents};
use super::settings::WorkerEvents;
use super::state::{self, Shown, StateError, TaskState, guarded};
use super::tasks::{Change, News, TaskChange, TaskUpdate, WatchedTasks};
use super::worker_event::WorkerEvent;
use super::workers::WorkerRecord;
use crate::bounded_map::{BoundedMap, MapLimits};
use crate::excerpt::excerpt;
use crate::layer::LayerError;
use crate::telemetry::Gauge;

/// Tasks whose newest state is remembered, the oldest forgotten first.
const RECENT: MapLimits = MapLimits { entries: 20_000, bytes: 16 * 1024 * 1024 };

/// Sets of tasks that are remembered.
const RECENT_SETS: MapLimits = MapLimits { entries: 5_000, bytes: 16 * 1024 * 1024 };

/// Seconds by which an event may be late. More is a clock that was set back.
const MAX_LATENESS: f64 = 10.0;

/// Characters of a worker's name that are kept.
const MAX_NAME: usize = 100;

/// Longest id of a task that is remembered: that of a group's name.
const MAX_ID: usize = 99;

/// The states that the workers' events have told.
struct ReportedStates {
    tasks: WatchedTasks,
    recent: BoundedMap<String, Reported>,
    sets: BoundedMap<String, Contents>,
}

/// The newest state of a task.
struct Reported {
    shown: Shown,
    /// Seconds since 1970 by the worker's clock.
    at: f64,
    /// The worker's name, cut.
    worker: Option<Box<str>>,
}

impl Reported {
    /// Whether an event is late: what a worker tells in another order is from threads of its own.
    /// Workers' clocks differ, and are set back.
    fn is_newer_than(&self, event: &WorkerEvent<'_>) -> bool {
        if event.is_final() {
            return false;
        }
        let worker = event.worker().map(|name| excerpt(&name, MAX_NAME).into());
        let by = self.at - event.at();
        self.shown.stage.is_end() || (by > 0.0 && by < MAX_LATENESS && self.worker == worker)
    }
}

/// Connects; the future follows.
pub(super) fn follow(
    source: &WorkerEvents,
    record: WorkerRecord,
    tasks: WatchedTasks,
    changes: mpsc::Receiver<Change>,
    updates: mpsc::Sender<TaskUpdate>,
) -> Result<impl Future<Output = ()> + Send + use<>, LayerError> {
    let feed = EventFeed::open(source)?;
    let reader = reader(record, tasks.metrics.clone(), tasks.metrics.up.clone());
    Ok(run(ReportedStates::new(tasks), reader, feed, changes, updates))
}

/// Connects; the future keeps the record of workers, and shows no states.
pub(super) fn observe(
    source: &WorkerEvents,
    record: WorkerRecord,
    metrics: CeleryMetrics,
) -> Result<impl Future<Output = ()> + Send + use<>, LayerError> {
    let mut feed = EventFeed::open(source)?;
    // The gauge is about the source of states.
    let mut reader = reader(record, metrics, Gauge::noop());
    Ok(async move {
        loop {
            reader.read(feed.next().await, |_| Ok(()));
        }
    })
}

fn reader(record: WorkerRecord, metrics: CeleryMetrics, gauge: Gauge) -> EventReader {
    EventReader::new(record, metrics, Availability::new("the broker of celery's workers", gauge))
}

async fn run(
    mut states: ReportedStates,
    mut reader: EventReader,
    mut feed: EventFeed,
    mut changes: mpsc::Receiver<Change>,
    updates: mpsc::Sender<TaskUpdate>,
) {
    loop {
        // The events of what is watched no more come all the same.
        drop(states.tasks.take_finished());
        tokio::select! {
            biased;
            permit = updates.reserve(), if states.tasks.has_updates() => {
                let Ok(permit) = permit else { return };
                states.tasks.hand_over(permit);
            }
            change = changes.recv() => match change {
                Some(change) => {
                    if let Err(error) = states.change(change) {
                        reader.discard(&error);
                    }
                }
                None => return,
            },
            event = feed.next() => reader.read(event, |event| states.report(event)),
        }
    }
}

impl ReportedStates {
    fn new(tasks: WatchedTasks) -> Self {
        Self { tasks, recent: BoundedMap::new(RECENT), sets: BoundedMap::new(RECENT_SETS) }
    }

    fn change(&mut self, change: Change) -> Result<(), StateError> {
        // What is not watched any more costs nothing: the events come all the same.
        let Some(TaskChange::Begun(id)) = self.tasks.change(change) else { return Ok(()) };
        if let Some(contents) = self.sets.get(&id) {
            self.consists_of(&id, contents.clone());
        }
        let known = self.recent.get(&id).map(|reported| reported.shown.clone());
        let shown = match known {
            Some(shown) => shown,
            None => {
                let (name, content, error) = (state::PENDING, None, None);
                let pending = TaskState { name, content, was_cut: false, error };
                state::show(&self.tasks.settings, &id, pending)?
            }
        };
        self.tasks.update(&id, shown, News::Read);
        Ok(())
    }

    fn report(&mut self, event: &WorkerEvent<'_>) -> Result<(), StateError> {
        let Some(id) = event.uuid.as_deref().filter(|id| id.len() <= MAX_ID) else { return Ok(()) };
        if let Some(set) = event.set.filter(|_| event.r#type == "task-set") {
            return self.report_set(id, guarded(|| contents(set.get().as_bytes()))?);
        }
        let Some(name) = event.state() else { return Ok(()) };
        if self.recent.get(id).is_some_and(|known| known.is_newer_than(event)) {
            return Ok(());
        }
        let shown = guarded(|| event.shown(&self.tasks.settings, id, &name))?;
        let bytes = id.len() + shown.event.json().len();
        self.tasks.update(id, shown.clone(), News::Happened);
        let worker = event.worker().map(|name| excerpt(&name, MAX_NAME).into());
        let reported = Reported { shown, at: event.at(), worker };
        self.recent.insert(id.to_owned(), reported, bytes + MAX_NAME);
        Ok(())
    }

    /// The site has started these tasks together.
    fn report_set(&mut self, id: &str, contents: Contents) -> Result<(), StateError> {
        let bytes = contents.tasks.iter().map(String::len).sum();
        if self.tasks.contains(id) {
            self.consists_of(id, contents.clone());
        }
        self.sets.insert(id.to_owned(), contents, bytes);
        Ok(())
    }

    /// A task that is watched is a set of these, of which some may have been reported.
    fn consists_of(&mut self, id: &str, contents: Contents) {
        let children = self.tasks.consists_of(id, contents);
        for child in children.added {
            match self.recent.get(&child) {
                Some(reported) => self.tasks.update(&child, reported.shown.clone(), News::Read),
                None => self.tasks.unreadable(&child),
            }
        }
    }
}
