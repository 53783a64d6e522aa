//! Starts a console: the handle, and the tasks behind it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use super::handle::{Console, ConsoleShared, MAX_WATCHERS};
use super::peers::serve_peers;
use super::sampler::{Sample, sample_on_demand};
use super::watching::share_overviews;
use crate::hub::Hub;
use crate::layer::Layer;
use crate::recent_answer::RecentAnswer;
use crate::sources::AmqpSettings;
use crate::telemetry::{Journal, Metrics};

/// The tasks of a console, to be supervised. They rest while nobody asks.
pub(crate) struct ConsoleTasks {
    /// Takes samples when asked.
    pub(crate) sampling: BoxFuture<'static, ()>,
    /// Answers other instances.
    pub(crate) answering: BoxFuture<'static, ()>,
    /// Makes overviews while somebody watches.
    pub(crate) sharing: BoxFuture<'static, ()>,
}

/// A console and its tasks, which run as long as the process.
pub(crate) fn start(
    hub: Hub,
    layer: Layer,
    metrics: Arc<Metrics>,
    journal: Arc<Journal>,
    amqp: Option<Arc<AmqpSettings>>,
) -> (Console, ConsoleTasks) {
    let (samples, requests) = mpsc::channel(MAX_WATCHERS);
    let questions = layer.questions();
    let sample = Sample::new(hub.clone(), layer.clone(), metrics);
    let console = Console(Arc::new(ConsoleShared {
        hub,
        layer,
        journal,
        samples,
        overviews: watch::Sender::new("".into()),
        watched: Notify::new(),
        watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
        amqp,
        servers: RecentAnswer::new(),
    }));
    let tasks = ConsoleTasks {
        sampling: Box::pin(sample_on_demand(sample, requests)),
        answering: Box::pin(serve_peers(console.clone(), questions)),
        sharing: Box::pin(share_overviews(console.clone())),
    };
    (console, tasks)
}
