//! `[[task]]`: tasks of Celery that browsers may start.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::celery::{JsonKind, RevokeMode};

/// `[[task]]`: a call that starts a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskTable {
    pub(crate) call: String,
    pub(crate) name: String,
    #[serde(default = "TaskTable::queue")]
    pub(crate) queue: String,
    #[serde(default = "TaskTable::identity")]
    pub(crate) identity: String,
    #[serde(default)]
    pub(crate) arguments: BTreeMap<String, ArgumentEntry>,
    #[serde(default = "TaskTable::per_minute")]
    pub(crate) per_minute: u32,
    #[serde(default = "TaskTable::concurrent")]
    pub(crate) concurrent: u32,
    #[serde(default)]
    pub(crate) revoke: RevokeMode,
    #[serde(default)]
    pub(crate) retry: bool,
}

/// `arguments.<name>`: a type such as `"integer"` or `"string?"`, or a table with its bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ArgumentEntry {
    Kind(String),
    Table(ArgumentTable),
}

/// `arguments.<name> = { … }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArgumentTable {
    pub(crate) r#type: JsonKind,
    #[serde(default)]
    pub(crate) optional: bool,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
}

impl TaskTable {
    fn queue() -> String {
        "celery".to_owned()
    }

    fn identity() -> String {
        "sub".to_owned()
    }

    fn per_minute() -> u32 {
        60
    }

    fn concurrent() -> u32 {
        10
    }
}
