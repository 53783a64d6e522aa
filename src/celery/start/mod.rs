//! Starts tasks that browsers call for: a message as Celery's own, and who may have how many.

mod arguments;
mod broker;
mod keys;
mod message;
mod quota;
mod settings;
mod starter;

pub(crate) use arguments::{ArgumentShape, JsonKind};
pub(crate) use message::{MAX_QUEUE, is_python_name};
pub(crate) use quota::{LONGEST, MAX_RUNNING, Quotas};
pub(crate) use settings::{BrowserTask, RevokeMode, StartSettings, TaskBroker};
pub(crate) use starter::{StartError, TaskRequest, TaskStarter};
