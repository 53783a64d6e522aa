//! States from Celery's Redis result back end.
//!
//! It never waits for Redis with anything else: requests run beside the loop, one at a time.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::state::{self, StateError};
use super::tasks::{Change, TaskChange, TaskUpdate, WatchedTasks};
use crate::layer::{
    KeyWatch, LayerError, ReadValue, RedisSettings, WATCH_CHUNK, WatchEvent, WatchedKeys,
};
use crate::telemetry::LogLimit;

/// Between two attempts while the result back end is away.
const RETRY: Duration = Duration::from_millis(500);

/// Which tasks are subscribed, and which are to be.
struct ResultBackEnd {
    tasks: WatchedTasks,
    malformed_log: LogLimit,
    /// Tasks to be subscribed and read.
    unsubscribed: HashSet<String>,
    /// Keys whose subscription is to end.
    abandoned: HashSet<String>,
    /// Tasks that are being read and of which a newer value has arrived meanwhile.
    overtaken: HashSet<String>,
    /// Whether it answered last; `None` = not asked yet.
    is_up: Option<bool>,
}

/// What was requested of Redis, when it is done.
enum Done {
    Read(Vec<String>, Result<Vec<ReadValue>, LayerError>),
    Forgotten,
}

type RedisRequest = Pin<Box<dyn Future<Output = Done> + Send>>;

/// Connects; the future watches.
pub(super) fn watch(
    redis: &RedisSettings,
    tasks: WatchedTasks,
    changes: mpsc::Receiver<Change>,
    updates: mpsc::Sender<TaskUpdate>,
) -> Result<impl Future<Output = ()> + Send + use<>, LayerError> {
    let (watch, keys) = KeyWatch::open(redis)?;
    Ok(run(ResultBackEnd::new(tasks), watch, keys, changes, updates))
}

async fn run(
    mut results: ResultBackEnd,
    redis: KeyWatch,
    mut keys: WatchedKeys,
    mut changes: mpsc::Receiver<Change>,
    updates: mpsc::Sender<TaskUpdate>,
) {
    let mut request: Option<RedisRequest> = None;
    let mut retry_at = Instant::now();
    loop {
        let may_ask = request.is_none() && results.has_requests();
        if may_ask && retry_at <= Instant::now() {
            request = Some(results.next_request(&redis));
            continue;
        }
        tokio::select! {
            biased;
            permit = updates.reserve(), if results.tasks.has_updates() => {
                let Ok(permit) = permit else { return };
                results.tasks.hand_over(permit);
            }
            event = keys.next() => results.handle(event),
            done = async { request.as_mut().expect("checked").await }, if request.is_some() => {
                request = None;
                // What arrived before the answer is newer than what was read, or the same.
                while let Some(event) = keys.try_next() {
                    results.handle(event);
                }
                if !results.finish(done) {
                    retry_at = Instant::now() + RETRY;
                }
            }
            change = changes.recv() => match change {
                Some(change) => results.change(change),
                None => return,
            },
            () = sleep_until(retry_at), if may_ask => {}
        }
    }
}

impl ResultBackEnd {
    fn new(tasks: WatchedTasks) -> Self {
        Self {
            tasks,
            malformed_log: LogLimit::default(),
            unsubscribed: HashSet::new(),
            abandoned: HashSet::new(),
            overtaken: HashSet::new(),
            is_up: None,
        }
    }

    fn change(&mut self, change: Change) {
        match self.tasks.change(change) {
            Some(TaskChange::Begun(id)) => {
                self.abandoned.remove(&self.tasks.settings.key_of(&id));
                self.unsubscribed.insert(id);
            }
            Some(TaskChange::Ended(ids)) => {
                for id in ids {
                    self.unsubscribed.remove(&id);
                    self.abandoned.insert(self.tasks.settings.key_of(&id));
                }
            }
            None => {}
        }
    }

    fn handle(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Interrupted => self.unsubscribed.extend(self.tasks.ids().cloned()),
            WatchEvent::Written(key, value) => {
                let Some(id) = self.tasks.settings.task_of_key(&key) else { return };
                let id = id.to_owned();
                if self.tasks.contains(&id) {
                    self.take(&id, Some(&value));
                    self.overtaken.insert(id);
                }
            }
        }
    }

    /// A value of a task that is watched; `None` = there is none.
    fn take(&mut self, id: &str, value: Option<&Bytes>) {
        match state::of_value(&self.tasks.settings, id, value) {
            Ok(event) => self.tasks.update(id, event),
            Err(error) => self.discard(id, &error),
        }
    }

    fn discard(&self, id: &str, error: &StateError) {
        self.tasks.metrics.malformed.increment(1);
        if self.malformed_log.allows() {
            let key = self.tasks.settings.key_of(id);
            tracing::warn!(key, %error, "malformed state of a task discarded");
        }
    }

    fn has_requests(&self) -> bool {
        !self.unsubscribed.is_empty() || !self.abandoned.is_empty()
    }

    /// Subscribes some of the tasks, or ends the subscription of some.
    fn next_request(&mut self, redis: &KeyWatch) -> RedisRequest {
        let redis = redis.clone();
        let ids: Vec<_> = self.unsubscribed.iter().take(WATCH_CHUNK).cloned().collect();
        if ids.is_empty() {
            let keys: Vec<_> = self.abandoned.iter().take(WATCH_CHUNK).cloned().collect();
            for key in &keys {
                self.abandoned.remove(key);
            }
            return Box::pin(async move {
                // A failure means that the connection was lost, and its subscriptions with it.
                let _ = redis.forget(keys).await;
                Done::Forgotten
            });
        }
        self.overtaken.clear();
        for id in &ids {
            self.unsubscribed.remove(id);
        }
        let keys: Vec<_> = ids.iter().map(|id| self.tasks.settings.key_of(id)).collect();
        Box::pin(async move {
            let values = redis.watch(&keys).await;
            Done::Read(ids, values)
        })
    }

    /// Returns whether the next request may follow at once.
    fn finish(&mut self, done: Done) -> bool {
        match done {
            Done::Forgotten => true,
            Done::Read(ids, Ok(values)) => {
                self.answered(None);
                for (id, value) in ids.iter().zip(values) {
                    match value {
                        Ok(_) if self.overtaken.contains(id) => {}
                        Ok(value) => self.take(id, value.as_ref()),
                        Err(words) => self.discard(id, &StateError::Malformed(words)),
                    }
                }
                true
            }
            Done::Read(ids, Err(error)) => {
                self.answered(Some(&error));
                let tasks = &self.tasks;
                self.unsubscribed.extend(ids.into_iter().filter(|id| tasks.contains(id)));
                false
            }
        }
    }

    /// Logs when it stops answering, and when it answers again.
    fn answered(&mut self, error: Option<&LayerError>) {
        let is_up = error.is_none();
        if self.is_up.replace(is_up) == Some(is_up) {
            return;
        }
        self.tasks.metrics.up.set(if is_up { 1.0 } else { 0.0 });
        match error {
            Some(error) => tracing::warn!(%error, "celery's result back end does not answer"),
            None => tracing::info!("celery's result back end answers"),
        }
    }
}
