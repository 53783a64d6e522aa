//! Reads the events that Celery's workers publish through kombu's Redis transport.

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

/// One event. Names, arguments and results are left: they are the `repr` of Python objects.
#[derive(Deserialize)]
pub(super) struct WorkerEvent<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    /// The task's id; events about workers have none.
    #[serde(borrow, default)]
    pub(super) uuid: Option<Cow<'a, str>>,
    /// Seconds since 1970 by the worker's clock.
    #[serde(default)]
    pub(super) timestamp: f64,
    /// Of `task-progress`: the name of the state, if the helper's `install` sent it.
    #[serde(borrow, default)]
    state: Option<Cow<'a, str>>,
    /// Of `task-progress`.
    #[serde(borrow, default)]
    progress: Option<&'a RawValue>,
    /// The `repr` of an exception, such as `ValueError('x')`.
    #[serde(borrow, default)]
    exception: Option<Cow<'a, str>>,
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

/// The events in a body. Prefork workers send those of tasks in lists.
pub(super) fn events(body: &[u8]) -> Result<Vec<WorkerEvent<'_>>, StateError> {
    match body.first() {
        Some(b'[') => serde_json::from_slice(body).map_err(malformed),
        Some(b'{') => Ok(vec![serde_json::from_slice(body).map_err(malformed)?]),
        Some(first) => Err(StateError::NotJson(*first)),
        None => Err(StateError::Malformed("its body is empty".to_owned())),
    }
}

fn malformed(error: impl std::fmt::Display) -> StateError {
    StateError::Malformed(error.to_string())
}

impl WorkerEvent<'_> {
    /// The name of the state that the task is in; `None` = the event is about something else.
    pub(super) fn state(&self) -> Option<&str> {
        Some(match &*self.r#type {
            "task-received" => "RECEIVED",
            "task-started" => "STARTED",
            "task-succeeded" => "SUCCESS",
            "task-failed" => "FAILURE",
            "task-retried" => "RETRY",
            "task-revoked" => "REVOKED",
            "task-rejected" => "REJECTED",
            "task-progress" => self.state.as_deref().unwrap_or("PROGRESS"),
            _ => return None,
        })
    }

    /// Whether no other state follows. What a worker reports late, as progress from a thread of its
    /// own, is older.
    pub(super) fn is_final(&self) -> bool {
        matches!(&*self.r#type, "task-succeeded" | "task-failed" | "task-revoked" | "task-rejected")
    }

    /// The state as browsers see it.
    pub(super) fn shown(
        &self,
        settings: &CelerySettings,
        id: &str,
        name: &str,
    ) -> Result<Shown, StateError> {
        let error = self.exception.as_deref().map(|repr| {
            let kind = repr.split_once('(').map_or(repr, |(kind, _)| kind);
            TaskError::new(kind, repr)
        });
        let is_progress = &*self.r#type == "task-progress";
        let content = self.progress.filter(|_| is_progress);
        state::show(settings, id, TaskState { name, content, was_cut: false, error })
    }
}
