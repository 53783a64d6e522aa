//! Settings of the states of tasks.

use super::start::StartSettings;
use crate::amqp::AmqpAddress;
use crate::group::GroupName;
use crate::layer::RedisSettings;

/// Where Celery keeps the states of tasks, and what of them browsers may see.
#[derive(Debug, Clone)]
pub struct CelerySettings {
    /// The Redis of Celery's `result_backend`; `None` = states are not watched.
    pub results: Option<RedisSettings>,
    /// Celery's broker, for worker events; `None` = they are not followed.
    pub(crate) events: Option<WorkerEvents>,
    /// `global_keyprefix` of Celery's `result_backend_transport_options`; precedes each key.
    pub key_prefix: String,
    /// Begins the name of a task's group; the task's id follows.
    pub group_prefix: String,
    /// Whether the return value of a task that succeeded is shown. Not by default: the code that
    /// wrote it may not have expected readers.
    pub show_results: bool,
    /// Whether the type and the message of an exception are shown. The traceback never is.
    pub show_errors: bool,
    /// Largest event, bytes. What would exceed it is left out of the event.
    pub max_event_bytes: usize,
    /// The tasks that browsers may start.
    pub start: StartSettings,
}

/// A broker, and where on it workers publish their events.
#[derive(Debug, Clone)]
pub(crate) enum WorkerEvents {
    /// On channels that match a pattern, through kombu's Redis transport.
    Redis { server: RedisSettings, channels: String },
    /// On a topic exchange.
    Amqp { broker: AmqpAddress, exchange: String },
}

impl Default for CelerySettings {
    fn default() -> Self {
        Self {
            results: None,
            events: None,
            key_prefix: String::new(),
            group_prefix: "task.".to_owned(),
            show_results: false,
            show_errors: false,
            max_event_bytes: 64 * 1024,
            start: StartSettings::default(),
        }
    }
}

/// `task_keyprefix` of Celery's `KeyValueStoreBackend`.
const META: &str = "celery-task-meta-";

/// Its `group_keyprefix`: what a group, chord or chain consists of.
const SET: &str = "celery-taskset-meta-";

/// Whose key a key is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyOf<'a> {
    Task(&'a str),
    Set(&'a str),
}

impl CelerySettings {
    /// Where the states of tasks come from, in words; `None` = nowhere.
    pub fn source(&self) -> Option<&'static str> {
        match (&self.results, &self.events) {
            (Some(_), _) => Some("Celery's result back end on Redis"),
            (None, Some(WorkerEvents::Redis { .. })) => Some("events of Celery's workers on Redis"),
            (None, Some(WorkerEvents::Amqp { .. })) => {
                Some("events of Celery's workers on RabbitMQ")
            }
            (None, None) => None,
        }
    }

    /// The tasks that browsers may start, each in words.
    pub fn tasks_of_browsers(&self) -> Vec<String> {
        let tasks = self.start.tasks.iter();
        tasks.map(|(call, task)| task.in_words(call)).collect()
    }

    /// The id of the task whose group this is, if it is one.
    pub(super) fn task_of<'a>(&self, group: &'a GroupName) -> Option<&'a str> {
        let id = group.as_str().strip_prefix(&self.group_prefix)?;
        (!id.is_empty()).then_some(id)
    }

    /// The group of a task; `None` = its id is no part of a group's name.
    pub(super) fn group_of(&self, task: &str) -> Option<GroupName> {
        GroupName::parse(&format!("{}{task}", self.group_prefix)).ok()
    }

    /// The key, and the channel, of a task's state.
    pub(super) fn key_of(&self, task: &str) -> String {
        format!("{}{META}{task}", self.key_prefix)
    }

    /// The key, and the channel, of what a set of tasks consists of.
    pub(super) fn set_key_of(&self, set: &str) -> String {
        format!("{}{SET}{set}", self.key_prefix)
    }

    /// Whose key this is.
    pub(super) fn of_key<'a>(&self, key: &'a str) -> Option<KeyOf<'a>> {
        let key = key.strip_prefix(&self.key_prefix)?;
        let task = key.strip_prefix(META).map(KeyOf::Task);
        task.or_else(|| key.strip_prefix(SET).map(KeyOf::Set))
    }
}
