//! Settings of the tasks that browsers may start.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::arguments::ArgumentShape;
use crate::amqp::AmqpAddress;
use crate::layer::RedisSettings;

/// Which tasks browsers may start, and where.
#[derive(Debug, Clone, Default)]
pub struct StartSettings {
    /// Celery's broker; `None` = no tasks are started.
    pub(crate) broker: Option<TaskBroker>,
    /// Queues whose lengths operators see, besides those of the tasks.
    pub(crate) queues: Vec<String>,
    /// The tasks, by the name of their call.
    pub(crate) tasks: BTreeMap<String, BrowserTask>,
    /// For how long a key stands for the task that it started.
    pub(crate) key_window: Duration,
}

/// Celery's broker.
#[derive(Debug, Clone)]
pub(crate) enum TaskBroker {
    /// Through kombu's Redis transport: queues are lists, and `control` is where all workers listen
    /// for commands.
    Redis { server: RedisSettings, key_prefix: String, control: String },
    /// As RabbitMQ.
    Amqp(AmqpAddress),
}

/// A task that browsers may start.
#[derive(Debug, Clone)]
pub(crate) struct BrowserTask {
    /// As Celery knows it, such as `photos.tasks.process`.
    pub(crate) name: String,
    pub(crate) queue: String,
    /// The argument that gets the caller's `sub`; empty = none does.
    pub(crate) identity: String,
    /// What the browser may and must give.
    pub(crate) arguments: BTreeMap<String, ArgumentShape>,
    /// Most that a user may start within a minute, on each instance.
    pub(crate) per_minute: u32,
    /// Most of a user's that have not ended, on each instance.
    pub(crate) concurrent: u32,
    /// Which of his tasks a user may revoke.
    pub(crate) revoke: RevokeMode,
    /// Whether its arguments are kept for a day, so that an operator may have it done again.
    pub(crate) retry: bool,
}

impl BrowserTask {
    /// What browsers may do, for `check`.
    pub(crate) fn in_words(&self, call: &str) -> String {
        let Self { name, queue, per_minute, concurrent, .. } = self;
        let revoke = match self.revoke {
            RevokeMode::Never => "",
            RevokeMode::Waiting => "; revoked before it begins",
            RevokeMode::Running => "; revoked even while it runs",
        };
        format!(
            "call {call:?} starts {name} in the queue {queue:?}, for each user at most \
             {per_minute} a minute and {concurrent} at once{revoke}"
        )
    }
}

/// Which tasks may be revoked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RevokeMode {
    /// None.
    #[default]
    Never,
    /// Those that no worker has begun.
    Waiting,
    /// Those that are being carried out, too: their process is ended by SIGTERM.
    Running,
}
