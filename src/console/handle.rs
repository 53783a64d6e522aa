//! The handle of a console: what it asks, and who is waiting for its answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::servers::Servers;
use super::snapshot::Snapshot;
use crate::hub::Hub;
use crate::layer::Layer;
use crate::recent_answer::RecentAnswer;
use crate::sources::AmqpSettings;
use crate::telemetry::Journal;

/// Consoles that may be open at one instance.
pub(super) const MAX_WATCHERS: usize = 16;

/// Longest wait for the shards of this instance. One that does not answer lacks CPU time.
pub(super) const SHARD_TIMEOUT: Duration = Duration::from_secs(1);

/// The console of one instance. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Console(pub(super) Arc<ConsoleShared>);

pub(super) struct ConsoleShared {
    pub(super) hub: Hub,
    pub(super) layer: Layer,
    pub(super) journal: Arc<Journal>,
    pub(super) samples: mpsc::Sender<oneshot::Sender<Arc<Snapshot>>>,
    /// The newest overview as JSON, made while somebody watches.
    pub(super) overviews: watch::Sender<Arc<str>>,
    /// Told when a watcher comes.
    pub(super) watched: Notify,
    pub(super) watchers: Arc<Semaphore>,
    /// `None` = no RabbitMQ is configured.
    pub(super) amqp: Option<Arc<AmqpSettings>>,
    pub(super) servers: RecentAnswer<Servers>,
}

impl Console {
    /// The state of this instance; `None` if it has too little CPU time to tell.
    pub(super) async fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let (reply, answer) = oneshot::channel();
        self.0.samples.try_send(reply).ok()?;
        timeout(SHARD_TIMEOUT, answer).await.ok()?.ok()
    }
}
