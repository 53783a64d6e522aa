//! Reads the events that Celery's workers publish through kombu's transports.

use std::borrow::Cow;

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::CelerySettings;
use super::state::{self, Shown, StateError, TaskError, TaskState};

/// The message of kombu around the events.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    body: Cow<'a, str>,
    #[serde(borrow, default)]
    properties: Properties<'a>,
}

#[derive(Default, Deserialize)]
struct Properties<'a> {
    #[serde(borrow, default)]
    body_encoding: Cow<'a, str>,
}

/// One event. Arguments and results are left: they are the `repr` of Python objects. Members that
/// may be of another type in another version are read when they are needed, so that an odd one
/// costs itself alone.
#[derive(Deserialize)]
pub(super) struct WorkerEvent<'a> {
    #[serde(borrow)]
    pub(super) r#type: Cow<'a, str>,
    /// The task's id; events about workers have none.
    #[serde(borrow, default)]
    pub(super) uuid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
    /// Of `task-progress`: the name of the state, if the helper's `install` sent it.
    #[serde(borrow, default)]
    state: Option<&'a RawValue>,
    /// Of `task-progress`.
    #[serde(borrow, default)]
    progress: Option<&'a RawValue>,
    /// Of `task-set`, which the helper sends: what `GroupResult.save()` would store.
    #[serde(borrow, default)]
    pub(super) set: Option<&'a RawValue>,
    /// The `repr` of an exception, such as `ValueError('x')`.
    #[serde(borrow, default)]
    exception: Option<&'a RawValue>,
    #[serde(borrow, default)]
    hostname: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    runtime: Option<&'a RawValue>,
    #[serde(borrow, default)]
    freq: Option<&'a RawValue>,
    #[serde(borrow, default)]
    active: Option<&'a RawValue>,
    #[serde(borrow, default)]
    processed: Option<&'a RawValue>,
    #[serde(borrow, default)]
    loadavg: Option<&'a RawValue>,
    #[serde(borrow, default)]
    sw_ver: Option<&'a RawValue>,
}

/// The JSON of a message's events: one, or a list of several.
pub(super) fn body(message: &[u8]) -> Result<Vec<u8>, StateError> {
    let envelope: Envelope<'_> = serde_json::from_slice(message).map_err(malformed)?;
    match &*envelope.properties.body_encoding {
        "base64" => BASE64.decode(envelope.body.as_bytes()).map_err(malformed),
        "" => Ok(envelope.body.into_owned().into_bytes()),
        other => Err(StateError::Malformed(format!("its body_encoding is {other:.20?}"))),
    }
}

/// The events in a body, each by itself: one that is odd costs no other its place. Prefork workers
/// send those of tasks in lists.
pub(super) fn events(body: &[u8]) -> Result<Vec<Result<WorkerEvent<'_>, StateError>>, StateError> {
    match body.first() {
        Some(b'[') => {
            let listed: Vec<&RawValue> = serde_json::from_slice(body).map_err(malformed)?;
            Ok(listed.into_iter().map(|event| read(event.get().as_bytes())).collect())
        }
        Some(b'{') => Ok(vec![read(body)]),
        Some(first) => Err(StateError::NotJson(*first)),
        None => Err(StateError::Malformed("its body is empty".to_owned())),
    }
}

fn read(event: &[u8]) -> Result<WorkerEvent<'_>, StateError> {
    serde_json::from_slice(event)
        .map_err(|error| StateError::Malformed(format!("it is no event of a worker: {error}")))
}

fn malformed(error: impl std::fmt::Display) -> StateError {
    StateError::Malformed(error.to_string())
}

/// A text; `None` = there is none, or it is something else.
fn text(written: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let json = written?.get();
    match serde_json::from_str::<&str>(json) {
        Ok(plain) => Some(Cow::Borrowed(plain)),
        Err(_) => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

/// A number, which some versions write as text.
fn number(written: Option<&RawValue>) -> Option<f64> {
    let number = serde_json::from_str::<f64>(written?.get()).ok();
    number.or_else(|| text(written)?.parse().ok()).filter(|number| number.is_finite())
}

impl WorkerEvent<'_> {
    /// The name of the state that the task is in; `None` = the event is about something else.
    pub(super) fn state(&self) -> Option<Cow<'_, str>> {
        let name = match &*self.r#type {
            "task-received" => "RECEIVED",
            "task-started" => "STARTED",
            "task-succeeded" => "SUCCESS",
            "task-failed" => "FAILURE",
            "task-retried" => "RETRY",
            "task-revoked" => "REVOKED",
            "task-rejected" => "REJECTED",
            "task-progress" => return Some(text(self.state).unwrap_or("PROGRESS".into())),
            _ => return None,
        };
        Some(Cow::Borrowed(name))
    }

    /// Whether no other state follows. What a worker reports late, as progress from a thread of its
    /// own, is older.
    pub(super) fn is_final(&self) -> bool {
        matches!(&*self.r#type, "task-succeeded" | "task-failed" | "task-revoked" | "task-rejected")
    }

    /// Seconds since 1970 by the worker's clock; 0 = it does not say.
    pub(super) fn at(&self) -> f64 {
        number(self.timestamp).unwrap_or_default()
    }

    /// The worker's name, as `celery@host`; that of a process that starts tasks begins with `gen`.
    pub(super) fn worker(&self) -> Option<Cow<'_, str>> {
        text(self.hostname)
    }

    /// The name of the task, which few events have.
    pub(super) fn task_name(&self) -> Option<Cow<'_, str>> {
        text(self.name)
    }

    /// Seconds that a task took.
    pub(super) fn runtime(&self) -> Option<f64> {
        number(self.runtime)
    }

    /// Seconds between the heartbeats of a worker.
    pub(super) fn heartbeat(&self) -> Option<f64> {
        number(self.freq)
    }

    /// Tasks that a worker is carrying out, and those that it has begun since it started.
    pub(super) fn counts(&self) -> (Option<u64>, Option<u64>) {
        let count = |written| number(written).map(|count| count as u64);
        (count(self.active), count(self.processed))
    }

    /// The load of a worker's machine within the last minute.
    pub(super) fn load(&self) -> Option<f64> {
        serde_json::from_str::<Vec<f64>>(self.loadavg?.get()).ok()?.first().copied()
    }

    /// The version of a worker's Celery.
    pub(super) fn version(&self) -> Option<Cow<'_, str>> {
        text(self.sw_ver)
    }

    /// The state as browsers see it.
    pub(super) fn shown(
        &self,
        settings: &CelerySettings,
        id: &str,
        name: &str,
    ) -> Result<Shown, StateError> {
        let error = text(self.exception).map(|repr| {
            let kind = repr.split_once('(').map_or(&*repr, |(kind, _)| kind);
            TaskError::new(kind, &repr)
        });
        let is_progress = &*self.r#type == "task-progress";
        let content = self.progress.filter(|_| is_progress);
        state::show(settings, id, TaskState { name, content, was_cut: false, error })
    }
}
