//! What instances remember of tasks that were started: which key stands for which, and whose it is.

use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use parking_lot::Mutex;

use crate::bounded_map::{ExpiringMap, MapLimits};
use crate::layer::{Layer, LayerError, Redis};

/// How long a task that is being started keeps its key from others. If this process ends meanwhile,
/// the task may be started once more after that.
const STARTING: Duration = Duration::from_secs(30);

/// How long it is known whose a task is, and how it was called for: as long as Celery keeps
/// results.
const OWNED: Duration = Duration::from_secs(86_400);

/// Notes of a single instance.
const NOTES: MapLimits = MapLimits { entries: 200_000, bytes: 64 * 1024 * 1024 };

/// Notes that all instances of the layer share.
pub(super) enum Notes {
    Memory(Mutex<ExpiringMap<String, String>>),
    Redis(Redis),
}

/// What a key stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyOutcome {
    /// Nothing yet: the caller starts its task, then confirms or gives up.
    New,
    /// This task, which was started with the same arguments.
    Task(String),
    /// A task that is being started.
    Starting,
    /// A task with other arguments.
    OtherArguments,
}

/// A user's key for one call.
pub(super) struct TaskKey {
    name: String,
    /// Of the arguments.
    content: String,
}

impl TaskKey {
    /// Names that users choose become digests.
    pub(super) fn new(sub: &str, call: &str, key: &str, arguments: &[u8]) -> Self {
        let chosen = format!("{}:{sub}{}:{call}{key}", sub.len(), call.len());
        let name =
            format!("task-key:{}", HEXLOWER.encode(digest(&SHA256, chosen.as_bytes()).as_ref()));
        let content = HEXLOWER.encode(&digest(&SHA256, arguments).as_ref()[..16]);
        Self { name, content }
    }
}

impl Notes {
    pub(super) fn new(layer: &Layer) -> Self {
        match layer {
            Layer::Memory(_) => Self::Memory(Mutex::new(ExpiringMap::new(NOTES))),
            Layer::Redis(redis) => Self::Redis(redis.clone()),
        }
    }

    /// Takes a key for a task that is to be started.
    pub(super) async fn begin(&self, key: &TaskKey) -> Result<KeyOutcome, LayerError> {
        let starting = format!("{} ", key.content);
        let Some(earlier) = self.claim(&key.name, starting, STARTING).await? else {
            return Ok(KeyOutcome::New);
        };
        Ok(match earlier.split_once(' ') {
            Some((content, _)) if content != key.content => KeyOutcome::OtherArguments,
            Some((_, "")) | None => KeyOutcome::Starting,
            Some((_, id)) => KeyOutcome::Task(id.to_owned()),
        })
    }

    /// The task of a key was started.
    pub(super) async fn confirm(
        &self,
        key: &TaskKey,
        id: &str,
        window: Duration,
    ) -> Result<(), LayerError> {
        self.put(&key.name, format!("{} {id}", key.content), window).await
    }

    /// The task of a key was not started.
    pub(super) async fn give_up(&self, key: &TaskKey) {
        match self {
            Self::Memory(notes) => {
                notes.lock().remove(&key.name, Instant::now());
            }
            // It is over in any case after a while.
            Self::Redis(redis) => drop(redis.forget(&key.name).await),
        }
    }

    /// Notes whose task this is.
    pub(super) async fn own(&self, id: &str, owner: &str) -> Result<(), LayerError> {
        self.put(&owner_of(id), owner.to_owned(), OWNED).await
    }

    /// Whose task this is; `None` = it was not started by a browser, or long ago.
    pub(super) async fn owner(&self, id: &str) -> Result<Option<String>, LayerError> {
        self.find(&owner_of(id)).await
    }

    /// Notes the call by which a task was started.
    pub(super) async fn remember(&self, id: &str, call: String) -> Result<(), LayerError> {
        self.put(&call_of(id), call, OWNED).await
    }

    /// The call by which a task was started; `None` = it is not noted, or no longer.
    pub(super) async fn remembered(&self, id: &str) -> Result<Option<String>, LayerError> {
        self.find(&call_of(id)).await
    }

    async fn find(&self, name: &str) -> Result<Option<String>, LayerError> {
        match self {
            Self::Memory(notes) => Ok(notes.lock().get(name, Instant::now()).cloned()),
            Self::Redis(redis) => Ok(redis.cached(name).await?.map(text)),
        }
    }

    async fn claim(
        &self,
        name: &str,
        value: String,
        ttl: Duration,
    ) -> Result<Option<String>, LayerError> {
        match self {
            Self::Memory(notes) => {
                let (mut notes, now) = (notes.lock(), Instant::now());
                if let Some(earlier) = notes.get(name, now) {
                    return Ok(Some(earlier.clone()));
                }
                let bytes = name.len() + value.len();
                notes.insert(name.to_owned(), value, bytes, now + ttl, now);
                Ok(None)
            }
            Self::Redis(redis) => Ok(redis.claim(name, value.into(), ttl).await?.map(text)),
        }
    }

    async fn put(&self, name: &str, value: String, ttl: Duration) -> Result<(), LayerError> {
        match self {
            Self::Memory(notes) => {
                let (bytes, now) = (name.len() + value.len(), Instant::now());
                notes.lock().insert(name.to_owned(), value, bytes, now + ttl, now);
                Ok(())
            }
            Self::Redis(redis) => redis.cache(name, value.into(), ttl).await,
        }
    }
}

fn owner_of(id: &str) -> String {
    format!("task-owner:{id}")
}

fn call_of(id: &str) -> String {
    format!("task-call:{id}")
}

fn text(value: Bytes) -> String {
    String::from_utf8_lossy(&value).into_owned()
}
