//! The lengths of Celery's queues, asked of the broker while somebody looks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::timeout;

use super::broker::BrokerConnection;
use super::settings::StartSettings;
use crate::recent_answer::RecentAnswer;

/// How long an answer serves all who ask.
const FRESH: Duration = Duration::from_secs(3);

/// Longest wait for the broker.
const PATIENCE: Duration = Duration::from_secs(2);

/// A queue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QueueLength {
    pub(crate) name: String,
    /// Tasks that no worker has taken; `None` = the broker does not say.
    pub(crate) waiting: Option<u64>,
    /// Workers that read it, where the broker knows them, as RabbitMQ does.
    pub(crate) workers: Option<u32>,
    /// Why the broker does not say.
    pub(crate) error: Option<String>,
}

/// The queues, and their lengths when they were last asked for.
pub(super) struct QueueLengths {
    names: Vec<String>,
    newest: RecentAnswer<Vec<QueueLength>>,
}

impl QueueLengths {
    /// Of all queues that the settings name.
    pub(super) fn of(settings: &StartSettings) -> Self {
        let tasks = settings.tasks.values().map(|task| &task.queue);
        let names: BTreeSet<_> = settings.queues.iter().chain(tasks).cloned().collect();
        Self { names: names.into_iter().collect(), newest: RecentAnswer::new() }
    }

    /// The lengths, a few seconds old at most.
    pub(super) async fn now(&self, broker: &BrokerConnection) -> Arc<Vec<QueueLength>> {
        let ask = join_all(self.names.iter().map(|name| length(broker, name)));
        self.newest.get(FRESH, ask).await
    }
}

async fn length(broker: &BrokerConnection, name: &str) -> QueueLength {
    let name = name.to_owned();
    let error = match timeout(PATIENCE, broker.waiting(&name)).await {
        Ok(Ok((waiting, workers))) => {
            return QueueLength { name, waiting: Some(waiting), workers, error: None };
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {PATIENCE:?}"),
    };
    QueueLength { name, waiting: None, workers: None, error: Some(error) }
}
