//! Starts a task for a browser, once for each of its keys, and revokes it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::arguments::{ArgumentShape, checked};
use super::broker::{BrokerConnection, BrokerError};
use super::keys::{KeyOutcome, Notes, TaskKey};
use super::message::{TaskMessage, random_id};
use super::noted_call::NotedCall;
use super::queues::QueueLengths;
use super::quota::Quotas;
use super::settings::{BrowserTask, RevokeMode, StartSettings};
use crate::celery::TaskWatcher;
use crate::celery::metrics::{CeleryMetrics, StartOutcome};
use crate::excerpt::{VALUE, excerpt};
use crate::group::GroupName;
use crate::layer::{Layer, LayerError};
use crate::telemetry::Counters;

/// Follows the name of a task's call in that of the call that revokes it.
const REVOKE: &str = ".revoke";

/// Longest id of a task, bytes; those that are started here have 36.
const MAX_ID: usize = 99;

/// Longest key, bytes; the same as for a `send`.
const MAX_KEY: usize = 255;

/// Clones share everything.
#[derive(Clone)]
pub(crate) struct TaskStarter(pub(super) Arc<Starter>);

/// A starter, and what has to run for it.
pub(crate) struct StartedStarter {
    pub(crate) handle: TaskStarter,
    pub(crate) run: Pin<Box<dyn Future<Output = ()> + Send>>,
}

pub(super) struct Starter {
    pub(super) tasks: BTreeMap<Arc<str>, BrowserTask>,
    pub(super) broker: BrokerConnection,
    pub(super) queues: QueueLengths,
    pub(super) notes: Notes,
    quotas: Quotas,
    key_window: Duration,
    watcher: TaskWatcher,
    pub(super) outcomes: Arc<Counters<StartOutcome>>,
}

/// A call for a task.
pub(crate) struct TaskRequest<'a> {
    /// The name of the call.
    pub(crate) call: &'a str,
    /// Its arguments.
    pub(crate) data: Option<&'a RawValue>,
    /// Whether its data names the call, too, as that of plain connections does.
    pub(crate) is_plain: bool,
    /// Whose it is.
    pub(crate) sub: &'a Arc<str>,
    /// Equal keys of a user start one task.
    pub(crate) key: Option<&'a str>,
}

/// A task that was started or revoked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CalledTask {
    pub(crate) id: String,
    /// Its group, which the caller joins; `None` = it was revoked.
    pub(crate) group: Option<GroupName>,
}

/// Why a task was not started or revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StartError {
    /// The arguments or the key have another shape than declared.
    #[error("{0}")]
    Shape(String),
    /// The user has started, or is running, as many as he may.
    #[error("{0}")]
    Limited(String),
    /// The key stands for a task with other arguments.
    #[error("the key was used for other arguments")]
    OtherArguments,
    /// The key stands for a task that is being started.
    #[error("a task with this key is being started")]
    Starting,
    /// The task to be revoked is not the user's.
    #[error("no task of yours has the id {0:?}")]
    NotYours(String),
    /// Celery's broker or the layer does not answer, or refuses.
    #[error("{0}")]
    Away(String),
}

/// What revokes a task.
#[derive(Deserialize)]
struct Revocation {
    task: String,
}

impl TaskRequest<'_> {
    fn arguments(
        &self,
        shapes: &BTreeMap<String, ArgumentShape>,
    ) -> Result<Map<String, Value>, StartError> {
        let names: &[&str] = if self.is_plain { &["action", "type"] } else { &[] };
        checked(shapes, self.data, names).map_err(StartError::Shape)
    }
}

impl TaskStarter {
    /// A starter; `None` where no broker is configured. Must be called within a runtime.
    ///
    /// # Errors
    /// [`LayerError::Url`].
    pub(crate) fn start(
        settings: &StartSettings,
        quotas: Quotas,
        watcher: TaskWatcher,
        layer: &Layer,
        metrics: &CeleryMetrics,
    ) -> Result<Option<StartedStarter>, LayerError> {
        let Some(broker) = &settings.broker else { return Ok(None) };
        let (broker, run) = BrokerConnection::open(broker)?;
        let tasks = settings.tasks.iter();
        let starter = Starter {
            tasks: tasks.map(|(call, task)| (call.as_str().into(), task.clone())).collect(),
            broker,
            queues: QueueLengths::of(settings),
            notes: Notes::new(layer),
            quotas,
            key_window: settings.key_window,
            watcher,
            outcomes: Arc::clone(&metrics.started),
        };
        Ok(Some(StartedStarter { handle: Self(Arc::new(starter)), run }))
    }

    /// Whether a call of this name is for a task.
    pub(crate) fn takes(&self, call: &str) -> bool {
        self.0.tasks.contains_key(call) || self.0.revoked_by(call).is_some()
    }

    /// Starts or revokes a task, as the call's name says.
    ///
    /// # Errors
    /// What is told to the browser.
    pub(crate) async fn call(&self, request: &TaskRequest<'_>) -> Result<CalledTask, StartError> {
        let starter = &self.0;
        let outcome = match starter.tasks.get_key_value(request.call) {
            Some((call, task)) => starter.start(call, task, request).await,
            None => starter.revoke(request).await,
        };
        let counted = match &outcome {
            Ok((_, outcome)) => *outcome,
            Err(StartError::Limited(_)) => StartOutcome::Limited,
            Err(StartError::Away(_)) => StartOutcome::Failed,
            Err(_) => StartOutcome::Refused,
        };
        starter.outcomes.of(counted).increment(1);
        outcome.map(|(task, _)| task)
    }
}

impl Starter {
    fn revoked_by(&self, call: &str) -> Option<&BrowserTask> {
        let task = self.tasks.get(call.strip_suffix(REVOKE)?)?;
        (task.revoke != RevokeMode::Never).then_some(task)
    }

    async fn start(
        &self,
        call: &Arc<str>,
        task: &BrowserTask,
        request: &TaskRequest<'_>,
    ) -> Result<(CalledTask, StartOutcome), StartError> {
        let mut arguments = request.arguments(&task.arguments)?;
        let key = match request.key {
            Some(key) if (1..=MAX_KEY).contains(&key.len()) => {
                let written = serde_json::to_vec(&arguments).unwrap_or_default();
                Some(TaskKey::new(request.sub, call, key, &written))
            }
            Some(_) => {
                return Err(StartError::Shape(format!("a key has 1 to {MAX_KEY} bytes")));
            }
            None => None,
        };
        if !task.identity.is_empty() {
            arguments.insert(task.identity.clone(), (**request.sub).into());
        }
        if let Some(key) = &key {
            match self.notes.begin(key).await.map_err(away)? {
                KeyOutcome::New => {}
                KeyOutcome::Task(id) => {
                    return Ok((self.watched(id), StartOutcome::Repeated));
                }
                KeyOutcome::Starting => return Err(StartError::Starting),
                KeyOutcome::OtherArguments => return Err(StartError::OtherArguments),
            }
        }
        let id = random_id().ok_or_else(|| away(BrokerError::Random))?;
        let message = TaskMessage { id: &id, name: &task.name, arguments: &arguments };
        let started = self.enqueue(call, task, request.sub, &message).await;
        match (&key, started) {
            (Some(key), Ok(())) => {
                self.notes.confirm(key, &id, self.key_window).await.map_err(away)?;
            }
            (Some(key), Err((error, false))) => {
                self.notes.give_up(key).await;
                return Err(error);
            }
            (_, Err((error, _))) => return Err(error),
            (None, Ok(())) => {}
        }
        Ok((self.watched(id), StartOutcome::Accepted))
    }

    /// The error comes with whether the task may have been started all the same.
    async fn enqueue(
        &self,
        call: &Arc<str>,
        task: &BrowserTask,
        sub: &Arc<str>,
        message: &TaskMessage<'_>,
    ) -> Result<(), (StartError, bool)> {
        let counted = self.quotas.begin(sub, call, task, message.id, Instant::now());
        counted.map_err(|limit| (StartError::Limited(limit), false))?;
        self.put(call, task, sub, message)
            .await
            .map_err(|error| (away(error.clone()), error.may_have_arrived()))
    }

    /// Notes a task and puts it into its queue, whether it counts for its user or not.
    pub(super) async fn put(
        &self,
        call: &Arc<str>,
        task: &BrowserTask,
        sub: &Arc<str>,
        message: &TaskMessage<'_>,
    ) -> Result<(), BrokerError> {
        if let Err(error) = self.note(call, task, sub, message).await {
            self.quotas.ended(message.id);
            // Nothing has been sent, so the layer's error means that nothing has arrived.
            return Err(BrokerError::NotNoted(error));
        }
        // Watched before a worker can end it.
        self.watcher.started(message.id).await;
        if let Err(error) = self.broker.enqueue(message, &task.queue).await {
            self.watcher.not_started(message.id).await;
            self.quotas.ended(message.id);
            tracing::warn!(%error, task = task.name, queue = task.queue, "task not started");
            return Err(error);
        }
        Ok(())
    }

    /// Notes whose a task is, and how it was called for, as far as its declaration wants that.
    async fn note(
        &self,
        call: &Arc<str>,
        task: &BrowserTask,
        sub: &Arc<str>,
        message: &TaskMessage<'_>,
    ) -> Result<(), LayerError> {
        if task.revoke != RevokeMode::Never {
            self.notes.own(message.id, &owner(sub, call)).await?;
        }
        if task.retry {
            let call = NotedCall::of(call, sub, message.arguments);
            self.notes.remember(message.id, call.to_json()).await?;
        }
        Ok(())
    }

    pub(super) fn watched(&self, id: String) -> CalledTask {
        let group = self.watcher.group_of(&id);
        CalledTask { id, group }
    }

    async fn revoke(
        &self,
        request: &TaskRequest<'_>,
    ) -> Result<(CalledTask, StartOutcome), StartError> {
        let call = request.call.strip_suffix(REVOKE).unwrap_or_default();
        let given = request.data.map_or("null", RawValue::get);
        let Revocation { task: id } = serde_json::from_str(given).map_err(|_| {
            StartError::Shape("a call that revokes a task has its id: {\"task\": …}".to_owned())
        })?;
        let not_yours = || StartError::NotYours(excerpt(&id, VALUE));
        let task = self.revoked_by(request.call).filter(|_| id.len() <= MAX_ID);
        let task = task.ok_or_else(not_yours)?;
        let known = self.notes.owner(&id).await.map_err(away)?;
        if known.is_none_or(|known| known != owner(request.sub, call)) {
            return Err(not_yours());
        }
        let terminate = task.revoke == RevokeMode::Running;
        self.broker.revoke(&id, terminate).await.map_err(away)?;
        Ok((CalledTask { id, group: None }, StartOutcome::Revoked))
    }
}

/// How an owner is noted: a task is revoked by the call that belongs to it alone.
fn owner(sub: &str, call: &str) -> String {
    format!("{call} {sub}")
}

fn away(error: impl Into<BrokerError>) -> StartError {
    StartError::Away(error.into().to_string())
}
