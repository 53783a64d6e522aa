//! The call by which a task was started, as it is noted for a day.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What an operator needs to have a task done again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct NotedCall {
    /// The name of the call.
    pub(super) call: String,
    /// Whose it was.
    pub(super) sub: String,
    /// All arguments of the task, the one that says whose it is among them.
    pub(super) arguments: Map<String, Value>,
}

impl NotedCall {
    pub(super) fn of(call: &str, sub: &str, arguments: &Map<String, Value>) -> Self {
        Self { call: call.to_owned(), sub: sub.to_owned(), arguments: arguments.clone() }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and JSON always serialize")
    }
}
