//! States from the events of workers, for sites whose result back end nobody else can read.
//!
//! Nobody keeps them, so the newest states of recent tasks are remembered here, for who comes
//! later. What happened while the subscription was interrupted is lost: a final state that was
//! missed never comes.

use std::future::Future;

use tokio::sync::mpsc;

use super::availability::Availability;
use super::feed::{EventFeed, FeedEvent};
use super::settings::WorkerEvents;
use super::state::{self, Shown, StateError, TaskState};
use super::tasks::{Change, TaskChange, TaskUpdate, WatchedTasks};
use super::worker_event::{self, WorkerEvent};
use crate::bounded_map::{BoundedMap, MapLimits};
use crate::layer::LayerError;
use crate::telemetry::LogLimit;

/// Tasks whose newest state is remembered, the oldest forgotten first.
const RECENT: MapLimits = MapLimits { entries: 20_000, bytes: 16 * 1024 * 1024 };

/// Longest id of a task that is remembered: that of a group's name.
const MAX_ID: usize = 99;

/// The states that the workers' events have told.
struct Workers {
    tasks: WatchedTasks,
    recent: BoundedMap<String, Reported>,
    malformed_log: LogLimit,
    broker: Availability,
}

/// The newest state of a task.
struct Reported {
    shown: Shown,
    /// Seconds since 1970 by the worker's clock.
    at: f64,
}

/// Connects; the future follows.
pub(super) fn follow(
    source: &WorkerEvents,
    tasks: WatchedTasks,
    changes: mpsc::Receiver<Change>,
    updates: mpsc::Sender<TaskUpdate>,
) -> Result<impl Future<Output = ()> + Send + use<>, LayerError> {
    let feed = EventFeed::open(source)?;
    Ok(run(Workers::new(tasks), feed, changes, updates))
}

async fn run(
    mut workers: Workers,
    mut feed: EventFeed,
    mut changes: mpsc::Receiver<Change>,
    updates: mpsc::Sender<TaskUpdate>,
) {
    loop {
        tokio::select! {
            biased;
            permit = updates.reserve(), if workers.tasks.has_updates() => {
                let Ok(permit) = permit else { return };
                workers.tasks.hand_over(permit);
            }
            change = changes.recv() => match change {
                Some(change) => workers.change(change),
                None => return,
            },
            event = feed.next() => workers.handle(event),
        }
    }
}

impl Workers {
    fn new(tasks: WatchedTasks) -> Self {
        let recent = BoundedMap::new(RECENT);
        let broker = Availability::new("the broker of celery's workers", tasks.metrics.up.clone());
        Self { tasks, recent, malformed_log: LogLimit::default(), broker }
    }

    fn change(&mut self, change: Change) {
        // What is not watched any more costs nothing: the events come all the same.
        let Some(TaskChange::Begun(id)) = self.tasks.change(change) else { return };
        let known = self.recent.get(&id).map(|reported| reported.shown.clone());
        let shown = match known {
            Some(shown) => Ok(shown),
            None => {
                let (name, content, error) = (state::PENDING, None, None);
                let pending = TaskState { name, content, was_cut: false, error };
                state::show(&self.tasks.settings, &id, pending)
            }
        };
        match shown {
            Ok(shown) => self.tasks.update(&id, shown),
            Err(error) => self.discard(&error),
        }
    }

    fn handle(&mut self, event: FeedEvent) {
        match event {
            FeedEvent::Body(body) => self.take(&body),
            FeedEvent::Begun => self.broker.note(None),
            FeedEvent::Away(error) => self.broker.note(Some(&error)),
            FeedEvent::Interrupted => self.tasks.metrics.lost.increment(1),
        }
    }

    fn take(&mut self, body: &Result<Vec<u8>, StateError>) {
        let events = body.as_deref().map_err(Clone::clone).and_then(worker_event::events);
        match events {
            Ok(events) => {
                self.tasks.metrics.events.increment(events.len() as u64);
                for event in &events {
                    self.report(event);
                }
            }
            Err(error) => self.discard(&error),
        }
    }

    fn report(&mut self, event: &WorkerEvent<'_>) {
        let (Some(id), Some(name)) = (&event.uuid, event.state()) else { return };
        let is_late = self.recent.get(&**id).is_some_and(|known| {
            (known.shown.stage.is_end() && !event.is_final()) || known.at > event.timestamp
        });
        if is_late || id.len() > MAX_ID {
            return;
        }
        match event.shown(&self.tasks.settings, id, name) {
            Ok(shown) => {
                let bytes = id.len() + shown.event.json().len();
                self.tasks.update(id, shown.clone());
                let reported = Reported { shown, at: event.timestamp };
                self.recent.insert(id.to_string(), reported, bytes);
            }
            Err(error) => self.discard(&error),
        }
    }

    fn discard(&self, error: &StateError) {
        self.tasks.metrics.malformed.increment(1);
        if self.malformed_log.allows() {
            tracing::warn!(%error, "malformed event of a celery worker discarded");
        }
    }
}
