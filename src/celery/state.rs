//! The event of a task's state, and the form in which Celery's result back end stores a state.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::CelerySettings;
use crate::event::Event;
use crate::excerpt::excerpt;
use crate::layer::MAX_VALUE;

/// Characters of an exception's type and message that are shown.
const MAX_ERROR: usize = 1000;

/// Longest name of a state. A site may invent some (`update_state(state="CUTTING")`).
const MAX_NAME: usize = 100;

/// The state of a task that no worker has written about: Celery stores nothing for it.
pub(super) const PENDING: &str = "PENDING";

/// Decodes what others wrote: a panic discards that alone.
pub(super) fn guarded<T>(decode: impl FnOnce() -> Result<T, StateError>) -> Result<T, StateError> {
    let panicked = |_| Err(StateError::Malformed("it made the decoder panic".to_owned()));
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(panicked)
}

/// Why a value is no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum StateError {
    /// Another serializer than JSON, or a compressed value.
    #[error("its first byte is 0x{0:02x}; set result_serializer to \"json\", without compression")]
    NotJson(u8),
    /// No JSON object with a status.
    #[error("{0}")]
    Malformed(String),
}

/// How far a task is, as far as others need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has told nothing of its own yet.
    Waiting,
    Working,
    Succeeded,
    /// Or it was revoked.
    Failed,
}

/// A state as browsers see it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shown {
    pub(super) event: Event,
    pub(super) stage: Stage,
    /// Whether it may happen again and look the same: a task that fails is retried, and fails.
    pub(super) is_retry: bool,
}

/// What is read of a stored state.
#[derive(Debug, Default)]
struct Stored<'a> {
    status: Option<Cow<'a, str>>,
    result: Option<&'a RawValue>,
}

/// The event of a state.
#[derive(Serialize)]
struct StateEvent<'a> {
    r#type: &'static str,
    id: &'a str,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<TaskError>,
    /// The member that is left out since it is too large or no legal part of an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    omitted: Option<&'static str>,
}

/// An exception, without its traceback.
#[derive(Serialize)]
pub(super) struct TaskError {
    r#type: String,
    message: String,
}

/// An exception as Celery stores it.
#[derive(Deserialize)]
struct StoredError<'a> {
    #[serde(borrow)]
    exc_type: Cow<'a, str>,
    #[serde(default)]
    exc_message: serde_json::Value,
}

/// A state, and what may be shown of it.
pub(super) struct TaskState<'a> {
    pub(super) name: &'a str,
    /// The `meta` of `update_state`, or what the task returned.
    pub(super) content: Option<&'a RawValue>,
    /// Whether the content was cut.
    pub(super) was_cut: bool,
    pub(super) error: Option<TaskError>,
}

impl Stage {
    fn of(name: &str) -> Self {
        match name {
            PENDING | "RECEIVED" | "STARTED" => Self::Waiting,
            "SUCCESS" => Self::Succeeded,
            "FAILURE" | "REVOKED" | "REJECTED" => Self::Failed,
            _ => Self::Working,
        }
    }

    pub(super) fn is_end(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// The stored `value` as browsers see it; `None` = nothing is stored.
pub(super) fn of_value(
    settings: &CelerySettings,
    id: &str,
    value: Option<&Bytes>,
) -> Result<Shown, StateError> {
    let stored = value.map(|value| read(value)).transpose()?.unwrap_or_default();
    let name = stored.status.as_deref().unwrap_or(PENDING);
    let shows_error = settings.show_errors && matches!(name, "FAILURE" | "RETRY" | "REVOKED");
    let state = TaskState {
        name,
        content: stored.result,
        was_cut: stored.status.is_some() && stored.result.is_none(),
        error: stored.result.filter(|_| shows_error).and_then(error),
    };
    show(settings, id, state)
}

/// A state as browsers see it.
pub(super) fn show(
    settings: &CelerySettings,
    id: &str,
    state: TaskState<'_>,
) -> Result<Shown, StateError> {
    let (stage, is_retry) = (Stage::of(state.name), state.name == "RETRY");
    Ok(Shown { event: event(settings, id, state)?, stage, is_retry })
}

fn event(settings: &CelerySettings, id: &str, state: TaskState<'_>) -> Result<Event, StateError> {
    check_name(state.name)?;
    let shown = match state.name {
        "SUCCESS" if settings.show_results => Some("result"),
        // The content of STARTED is the worker's process id and host name.
        "SUCCESS" | "FAILURE" | "RETRY" | "REVOKED" | "STARTED" | "RECEIVED" | PENDING => None,
        _ => Some("progress"),
    };
    let event = StateEvent {
        r#type: "task.state",
        id,
        state: state.name,
        progress: state.content.filter(|_| shown == Some("progress")),
        result: state.content.filter(|_| shown == Some("result")),
        error: state.error.filter(|_| settings.show_errors),
        omitted: None,
    };
    if !state.was_cut
        && let Some(event) = parse(&event, settings.max_event_bytes)
    {
        return Ok(event);
    }
    let (progress, result) = (None, None);
    let bare = StateEvent { progress, result, omitted: shown, ..event };
    parse(&bare, settings.max_event_bytes)
        .ok_or_else(|| StateError::Malformed("its task id is too long".to_owned()))
}

fn check_name(name: &str) -> Result<(), StateError> {
    let bytes = name.len();
    if (1..=MAX_NAME).contains(&bytes) {
        return Ok(());
    }
    let why = format!("its state has {bytes} bytes; 1 to {MAX_NAME} are allowed");
    Err(StateError::Malformed(why))
}

/// The event, if it is one and small enough.
fn parse(event: &StateEvent<'_>, max_bytes: usize) -> Option<Event> {
    let json = serde_json::to_vec(event).ok()?;
    if json.len() > max_bytes {
        return None;
    }
    Event::parse(json.into()).ok()
}

fn error(result: &RawValue) -> Option<TaskError> {
    let stored: StoredError<'_> = serde_json::from_str(result.get()).ok()?;
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let message = match &stored.exc_message {
        serde_json::Value::Null => String::new(),
        serde_json::Value::Array(parts) => parts.iter().map(text).collect::<Vec<_>>().join(", "),
        value => text(value),
    };
    Some(TaskError::new(&stored.exc_type, &message))
}

impl TaskError {
    pub(super) fn new(r#type: &str, message: &str) -> Self {
        Self { r#type: excerpt(r#type, MAX_ERROR), message: excerpt(message, MAX_ERROR) }
    }
}

/// Reads a stored state. A value that was cut has its status all the same: Celery writes it first.
fn read(value: &[u8]) -> Result<Stored<'_>, StateError> {
    match value.first() {
        Some(b'{') => {}
        Some(first) => return Err(StateError::NotJson(*first)),
        None => return Ok(Stored::default()),
    }
    let mut stored = Stored::default();
    let mut json = serde_json::Deserializer::from_slice(value);
    let outcome = (&mut stored).deserialize(&mut json).and_then(|()| json.end());
    let was_cut = value.len() >= MAX_VALUE;
    if let Err(error) = outcome
        && !(was_cut && stored.status.is_some())
    {
        return Err(StateError::Malformed(error.to_string()));
    }
    if stored.status.is_none() {
        return Err(StateError::Malformed("it has no status".to_owned()));
    }
    Ok(stored)
}

/// Keeps what was read before an error.
impl<'de> DeserializeSeed<'de> for &mut Stored<'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Stored<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the state of a task")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match &*name {
                "status" => self.status = Some(map.next_value()?),
                "result" => self.result = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}
