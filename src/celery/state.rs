//! Reads the state of a task as Celery's Redis result back end stores it, and makes its event.

use std::borrow::Cow;
use std::fmt;

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
const PENDING: &str = "PENDING";

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
struct TaskError {
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

/// The event of the state in `value`; `None` = nothing is stored.
pub(super) fn event(
    settings: &CelerySettings,
    id: &str,
    value: Option<&Bytes>,
) -> Result<Event, StateError> {
    let stored = value.map(|value| read(value)).transpose()?.unwrap_or_default();
    let state = stored.status.as_deref().unwrap_or(PENDING);
    let mut event = StateEvent {
        r#type: "task.state",
        id,
        state,
        progress: None,
        result: None,
        error: None,
        omitted: None,
    };
    let mut content = None;
    match state {
        "SUCCESS" if settings.show_results => content = Some("result"),
        "FAILURE" | "RETRY" | "REVOKED" if settings.show_errors => {
            event.error = stored.result.and_then(error);
        }
        // The result of STARTED is the worker's process id and host name.
        "SUCCESS" | "FAILURE" | "RETRY" | "REVOKED" | "STARTED" | "RECEIVED" | PENDING => {}
        _ => content = Some("progress"),
    }
    event.progress = stored.result.filter(|_| content == Some("progress"));
    event.result = stored.result.filter(|_| content == Some("result"));
    if let Some(event) = parse(&event, settings.max_event_bytes).filter(|_| stored.is_whole()) {
        return Ok(event);
    }
    let (progress, result) = (None, None);
    let bare = StateEvent { progress, result, omitted: content, ..event };
    parse(&bare, settings.max_event_bytes)
        .ok_or_else(|| StateError::Malformed("its task id or status is too long".to_owned()))
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
    let (r#type, message) = (excerpt(&stored.exc_type, MAX_ERROR), excerpt(&message, MAX_ERROR));
    Some(TaskError { r#type, message })
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
    match stored.status.as_deref() {
        None => Err(StateError::Malformed("it has no status".to_owned())),
        Some(name) if name.is_empty() || name.len() > MAX_NAME => {
            let bytes = name.len();
            let why = format!("its status has {bytes} bytes; 1 to {MAX_NAME} are allowed");
            Err(StateError::Malformed(why))
        }
        Some(_) => Ok(stored),
    }
}

impl Stored<'_> {
    /// Whether the result was read, if there is a state at all.
    fn is_whole(&self) -> bool {
        self.status.is_none() || self.result.is_some()
    }
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
