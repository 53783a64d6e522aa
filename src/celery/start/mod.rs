//! Starts tasks that browsers call for: a message as Celery's own, and who may have how many.

mod arguments;
mod broker;
mod by_operators;
mod keys;
mod message;
mod noted_call;
mod queues;
mod quota;
mod settings;
mod starter;

pub(crate) use arguments::{ArgumentShape, JsonKind};
pub(crate) use by_operators::OperatorError;
pub(crate) use message::{MAX_QUEUE, is_python_name};
pub(crate) use queues::QueueLength;
pub(crate) use quota::{LONGEST, MAX_RUNNING, Quotas};
pub(crate) use settings::{BrowserTask, RevokeMode, StartSettings, TaskBroker};
pub(crate) use starter::{CalledTask, StartError, TaskRequest, TaskStarter};
