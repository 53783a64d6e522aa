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

use super::availability::Availability;
use super::sets::{Contents, contents};
use super::settings::KeyOf;
use super::state::{self, StateError, guarded};
use super::tasks::{Change, News, TaskChange, TaskUpdate, WatchedTasks};
use crate::layer::{
    KeyWatch, LayerError, ReadValue, RedisSettings, WATCH_CHUNK, WatchEvent, WatchedKeys,
};
use crate::telemetry::LogLimit;

/// Between two attempts while the result back end is away.
const RETRY: Duration = Duration::from_millis(500);

/// Which keys are subscribed, and which are to be.
struct ResultBackEnd {
    tasks: WatchedTasks,
    malformed_log: LogLimit,
    /// Keys to be subscribed and read.
    unsubscribed: HashSet<String>,
    /// Keys whose subscription is to end.
    abandoned: HashSet<String>,
    /// Keys that are being read and whose newer value has arrived meanwhile.
    overtaken: HashSet<String>,
    server: Availability,
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
        results.end_finished();
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
        let server = Availability::new("celery's result back end", tasks.metrics.up.clone());
        Self {
            tasks,
            malformed_log: LogLimit::default(),
            unsubscribed: HashSet::new(),
            abandoned: HashSet::new(),
            overtaken: HashSet::new(),
            server,
        }
    }

    fn change(&mut self, change: Change) {
        let change = self.tasks.change(change);
        self.apply(change);
    }

    /// Tasks that were watched without members, and have ended.
    fn end_finished(&mut self) {
        let finished = self.tasks.take_finished();
        self.apply(finished);
    }

    fn apply(&mut self, change: Option<TaskChange>) {
        match change {
            Some(TaskChange::Begun(id)) => {
                // Whether it is a task or a set of tasks shows when both are read.
                let settings = &self.tasks.settings;
                let keys = [settings.set_key_of(&id), settings.key_of(&id)];
                keys.into_iter().for_each(|key| self.subscribe(key));
            }
            Some(TaskChange::Ended { tasks, useless }) => {
                let settings = self.tasks.settings.clone();
                tasks.iter().for_each(|id| self.abandon(settings.set_key_of(id)));
                useless.iter().for_each(|id| self.abandon(settings.key_of(id)));
            }
            None => {}
        }
    }

    fn subscribe(&mut self, key: String) {
        self.abandoned.remove(&key);
        self.unsubscribed.insert(key);
    }

    fn abandon(&mut self, key: String) {
        self.unsubscribed.remove(&key);
        self.abandoned.insert(key);
    }

    fn handle(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Interrupted => {
                self.tasks.metrics.reread.increment(1);
                let (tasks, settings) = (&self.tasks, &self.tasks.settings);
                let sets = tasks.ids().map(|id| settings.set_key_of(id));
                let ids = tasks.ids().chain(tasks.children());
                self.unsubscribed.extend(sets.chain(ids.map(|id| settings.key_of(id))));
            }
            WatchEvent::Written(key, value) => {
                if self.needs(&key) {
                    self.take(&key, Some(&value), News::Happened);
                    self.overtaken.insert(key);
                }
            }
        }
    }

    fn needs(&self, key: &str) -> bool {
        match self.tasks.settings.of_key(key) {
            Some(KeyOf::Task(id)) => self.tasks.needs(id),
            Some(KeyOf::Set(id)) => self.tasks.contains(id),
            None => false,
        }
    }

    /// The value of a key; `None` = there is none.
    fn take(&mut self, key: &str, value: Option<&Bytes>, news: News) {
        let settings = self.tasks.settings.clone();
        let outcome = match settings.of_key(key) {
            Some(KeyOf::Task(id)) => {
                let shown = guarded(|| state::of_value(&settings, id, value));
                shown.map(|shown| self.tasks.update(id, shown, news))
            }
            Some(KeyOf::Set(id)) => {
                let contents = guarded(|| value.map(|value| contents(value)).transpose());
                contents.map(|contents| self.consists_of(id, contents))
            }
            None => return,
        };
        if let Err(error) = outcome {
            self.unreadable(key, &error);
        }
    }

    /// Takes sets first: of a set, no member is told that it waits.
    fn take_read(&mut self, mut read: Vec<(String, ReadValue)>) {
        let settings = self.tasks.settings.clone();
        read.sort_by_key(|(key, _)| !matches!(settings.of_key(key), Some(KeyOf::Set(_))));
        read.retain(|(key, _)| !self.overtaken.contains(key));
        for (key, value) in &read {
            match value {
                Ok(value) => self.take(key, value.as_ref(), News::Read),
                Err(words) => self.unreadable(key, &StateError::Malformed(words.clone())),
            }
        }
    }

    fn unreadable(&mut self, key: &str, error: &StateError) {
        self.discard(key, error);
        let settings = self.tasks.settings.clone();
        if let Some(KeyOf::Task(id)) = settings.of_key(key) {
            self.tasks.unreadable(id);
        }
    }

    /// A set is of these tasks, which from now on are watched, too.
    fn consists_of(&mut self, set: &str, contents: Option<Contents>) {
        // A set that nobody stored is a task, or is stored a moment later.
        let Some(contents) = contents.filter(|_| self.tasks.contains(set)) else { return };
        let children = self.tasks.consists_of(set, contents);
        let settings = self.tasks.settings.clone();
        children.added.iter().for_each(|id| self.subscribe(settings.key_of(id)));
        children.dropped.iter().for_each(|id| self.abandon(settings.key_of(id)));
    }

    fn discard(&self, key: &str, error: &StateError) {
        self.tasks.metrics.malformed.increment(1);
        if self.malformed_log.allows() {
            tracing::warn!(key, %error, "malformed state of a task discarded");
        }
    }

    fn has_requests(&self) -> bool {
        !self.unsubscribed.is_empty() || !self.abandoned.is_empty()
    }

    /// Subscribes some of the keys, or ends the subscription of some.
    fn next_request(&mut self, redis: &KeyWatch) -> RedisRequest {
        let redis = redis.clone();
        let keys: Vec<_> = self.unsubscribed.iter().take(WATCH_CHUNK).cloned().collect();
        if keys.is_empty() {
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
        for key in &keys {
            self.unsubscribed.remove(key);
        }
        Box::pin(async move {
            let values = redis.watch(&keys).await;
            Done::Read(keys, values)
        })
    }

    /// Returns whether the next request may follow at once.
    fn finish(&mut self, done: Done) -> bool {
        match done {
            Done::Forgotten => true,
            Done::Read(keys, Ok(values)) => {
                self.server.note(None);
                self.take_read(keys.into_iter().zip(values).collect());
                true
            }
            Done::Read(keys, Err(error)) => {
                self.server.note(Some(&error));
                let needed: Vec<_> = keys.into_iter().filter(|key| self.needs(key)).collect();
                self.unsubscribed.extend(needed);
                false
            }
        }
    }
}
