//! What operators do with the tasks of any user: they revoke them, and have them done again.

use std::sync::Arc;

use super::broker::BrokerError;
use super::message::{TaskMessage, random_id};
use super::noted_call::NotedCall;
use super::queues::QueueLength;
use super::starter::{CalledTask, TaskStarter};
use crate::celery::metrics::StartOutcome;
use crate::excerpt::{VALUE, excerpt};
use crate::layer::LayerError;

/// Why a task was not revoked or done again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OperatorError {
    /// There is no broker to ask.
    #[error("celery.broker is not configured")]
    NoBroker,
    /// How it was called for is not known.
    #[error(
        "how task {0:?} was called for is not known; it is for a day, of calls whose [[task]] has \
         retry = true"
    )]
    NotNoted(String),
    /// The broker or the layer does not answer, or refuses.
    #[error("{0}")]
    Away(String),
}

impl From<BrokerError> for OperatorError {
    fn from(error: BrokerError) -> Self {
        Self::Away(error.to_string())
    }
}

impl From<LayerError> for OperatorError {
    fn from(error: LayerError) -> Self {
        Self::Away(error.to_string())
    }
}

impl TaskStarter {
    /// How many tasks wait in each queue.
    pub(crate) async fn queues(&self) -> Arc<Vec<QueueLength>> {
        self.0.queues.now(&self.0.broker).await
    }

    /// The names of the tasks that may be done again.
    pub(crate) fn repeatable(&self) -> Vec<String> {
        let tasks = self.0.tasks.values().filter(|task| task.retry);
        tasks.map(|task| task.name.clone()).collect()
    }

    /// Tells all workers to revoke a task, and with `terminate` to end what carries it out.
    ///
    /// # Errors
    /// [`OperatorError::Away`].
    pub(crate) async fn revoke(&self, id: &str, terminate: bool) -> Result<(), OperatorError> {
        self.0.broker.revoke(id, terminate).await?;
        self.0.outcomes.of(StartOutcome::Revoked).increment(1);
        Ok(())
    }

    /// Starts a task as another one was, for the same user, whose limits do not count.
    ///
    /// # Errors
    /// [`OperatorError::NotNoted`], [`OperatorError::Away`].
    pub(crate) async fn start_again(&self, earlier: &str) -> Result<CalledTask, OperatorError> {
        let starter = &self.0;
        let not_noted = || OperatorError::NotNoted(excerpt(earlier, VALUE));
        let noted = starter.notes.remembered(earlier).await?.ok_or_else(not_noted)?;
        let NotedCall { call, sub, arguments } =
            serde_json::from_str(&noted).map_err(|_| not_noted())?;
        let declared = starter.tasks.get_key_value(call.as_str()).filter(|(_, task)| task.retry);
        let (call, task) = declared.ok_or_else(not_noted)?;
        let id = random_id().ok_or(BrokerError::Random)?;
        let message = TaskMessage { id: &id, name: &task.name, arguments: &arguments };
        starter.put(call, task, &sub.into(), &message).await?;
        starter.outcomes.of(StartOutcome::Accepted).increment(1);
        Ok(starter.watched(id))
    }
}
