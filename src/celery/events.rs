//! States from the events of workers, for sites whose result back end nobody else can read.
//!
//! Nobody keeps them, so the newest states of recent tasks are remembered here, for who comes
//! later. What happened while the subscription was interrupted is lost: a final state that was
//! missed never comes.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::state::{self, Shown, StateError, TaskState};
use super::tasks::{Change, TaskChange, TaskUpdate, WatchedTasks};
use super::worker_event::{self, WorkerEvent};
use crate::bounded_map::{BoundedMap, MapLimits};
use crate::layer::{KeyWatch, LayerError, RedisSettings, WatchEvent, WatchedKeys};
use crate::telemetry::LogLimit;

/// Between two attempts while the broker is away.
const RETRY: Duration = Duration::from_millis(500);

/// Tasks whose newest state is remembered, the oldest forgotten first.
const RECENT: MapLimits = MapLimits { entries: 20_000, bytes: 16 * 1024 * 1024 };

/// Longest id of a task that is remembered: that of a group's name.
const MAX_ID: usize = 99;

/// The states that the workers' events have told.
struct Workers {
    tasks: WatchedTasks,
    recent: BoundedMap<String, Reported>,
    malformed_log: LogLimit,
    is_up: Option<bool>,
}

/// The newest state of a task.
struct Reported {
    shown: Shown,
    /// Seconds since 1970 by the worker's clock.
    at: f64,
}

/// Connects; the future follows.
pub(super) fn follow(
    redis: &RedisSettings,
    tasks: WatchedTasks,
    changes: mpsc::Receiver<Change>,
    updates: mpsc::Sender<TaskUpdate>,
) -> Result<impl Future<Output = ()> + Send + use<>, LayerError> {
    let (watch, messages) = KeyWatch::open(redis)?;
    Ok(run(Workers::new(tasks), watch, messages, changes, updates))
}

type Subscribing = Pin<Box<dyn Future<Output = Result<(), LayerError>> + Send>>;

/// Subscribes, after a while. It goes on beside everything else, and is repeated until it succeeds.
fn subscribe(redis: KeyWatch, pattern: String, after: Duration) -> Subscribing {
    Box::pin(async move {
        sleep(after).await;
        redis.follow(&pattern).await
    })
}

async fn run(
    mut workers: Workers,
    redis: KeyWatch,
    mut messages: WatchedKeys,
    mut changes: mpsc::Receiver<Change>,
    updates: mpsc::Sender<TaskUpdate>,
) {
    let pattern = workers.tasks.settings.event_channels.clone();
    let mut following = Some(subscribe(redis.clone(), pattern.clone(), Duration::ZERO));
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
            outcome = async { following.as_mut().expect("checked").await },
                if following.is_some() =>
            {
                workers.answered(outcome.as_ref().err());
                let failed = outcome.is_err();
                following = failed.then(|| subscribe(redis.clone(), pattern.clone(), RETRY));
            }
            event = messages.next() => match event {
                WatchEvent::Written(_, message) => workers.take(&message),
                WatchEvent::Interrupted => {
                    workers.tasks.metrics.lost.increment(1);
                    following.get_or_insert_with(|| {
                        subscribe(redis.clone(), pattern.clone(), Duration::ZERO)
                    });
                }
            },
        }
    }
}

impl Workers {
    fn new(tasks: WatchedTasks) -> Self {
        let recent = BoundedMap::new(RECENT);
        Self { tasks, recent, malformed_log: LogLimit::default(), is_up: None }
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

    fn take(&mut self, message: &Bytes) {
        let body = worker_event::body(message);
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

    /// Logs when the broker stops answering, and when it answers again.
    fn answered(&mut self, error: Option<&LayerError>) {
        let is_up = error.is_none();
        if self.is_up.replace(is_up) == Some(is_up) {
            return;
        }
        self.tasks.metrics.up.set(if is_up { 1.0 } else { 0.0 });
        match error {
            Some(error) => tracing::warn!(%error, "events of celery workers cannot be followed"),
            None => tracing::info!("events of celery workers are followed"),
        }
    }
}
