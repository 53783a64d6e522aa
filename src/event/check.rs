//! The one pass over an event's JSON that decides whether it may travel.

/// Why bytes are no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Not JSON, not UTF-8, too deep, a duplicate key, not an object.
    #[error("event is not acceptable JSON: {0}")]
    Json(String),
    /// No `type`, or one that is no string.
    #[error("event has no string \"type\"; it is a JSON object such as {{\"type\":\"aviso\"}}")]
    NoType,
}

/// Checks `json` and returns its `type`.
pub(super) fn kind_of(json: &[u8]) -> Result<String, EventError> {
    let value: serde_json::Value =
        serde_json::from_slice(json).map_err(|e| EventError::Json(e.to_string()))?;
    match value.get("type").and_then(|kind| kind.as_str()) {
        Some(kind) => Ok(kind.to_owned()),
        None => Err(EventError::NoType),
    }
}
