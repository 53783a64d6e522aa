//! Takes entries from durable places exactly once: reads them, publishes each once, removes it.
//!
//! A source keeps what arrives while no gateway runs. Two kinds are drained: mailboxes of
//! channels_redis, into which Django's unchanged `group_send` writes, and the stream
//! `<cluster>:ingress`, into which any program may write.
//!
//! To add a kind on the layer's Redis, add a `DurableSource`, a function that decodes its entries
//! (`EntryDecoder`), and a way to read and remove them (`look.lua`, `drain.lua`). A kind on another
//! server has a reader of its own, which publishes under the entry's id before it removes the
//! entry: `amqp` does so with a queue of RabbitMQ.

mod amqp;
mod batch;
mod bounds;
mod command;
mod connection;
mod decoder;
mod drainer;
mod entry;
mod health;
mod metrics;
mod poison;
mod probe;
mod reply;
mod schedule;
mod seen;
mod settings;
mod source;
mod state;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::channels::{Agreement, AgreementError, DjangoLayer, FORMATS, GroupRegistrar};
use crate::layer::ScriptError;
use crate::supervisor::Supervisor;
pub(crate) use amqp::{AmqpSettings, AmqpSource};
use bounds::Bounds;
pub(crate) use connection::SourceConnection;
use decoder::EntryDecoder;
use drainer::{Drainer, LogLimits, Scripts};
use health::DrainHealth;
pub(crate) use metrics::SourceMetrics;
use probe::Probe;
pub(crate) use settings::SourceSettings;
use source::SourceList;

/// Drains the sources of one instance. Clones share it; draining ends with the last one.
#[derive(Clone)]
pub(crate) struct Sources(Arc<Shared>);

struct Shared {
    registrar: GroupRegistrar,
    health: Arc<DrainHealth>,
    metrics: Arc<SourceMetrics>,
    /// Why this instance is incompatible with the cluster, once known.
    disagreement: watch::Receiver<Option<AgreementError>>,
    _tasks: JoinSet<()>,
}

impl Sources {
    /// Starts draining over `connection`, once the cluster agrees. Must be called within a runtime.
    pub(crate) fn start(
        settings: &SourceSettings,
        connection: SourceConnection,
        django: &DjangoLayer,
        max_event_bytes: usize,
        metrics: &Arc<SourceMetrics>,
        supervisor: &Supervisor,
    ) -> Self {
        let registrar = django.registrar.clone();
        let drainer = drainer(settings, connection, django, max_event_bytes, metrics);
        let health = Arc::clone(&drainer.health);
        let agreement = Agreement::new(&settings.channels, FORMATS);
        let probe = Probe::new(settings, django);
        let (outcome, disagreement) = watch::channel(None);
        let mut tasks = JoinSet::new();
        let draining = async move {
            // First, since it names each command that is refused.
            probe.pass(&drainer.redis, &drainer.health).await;
            agree(&agreement, &drainer, &outcome).await;
            drainer.run().await;
        };
        tasks.spawn(supervisor.supervise("drainer", draining));
        let metrics = Arc::clone(metrics);
        Self(Arc::new(Shared { registrar, health, metrics, disagreement, _tasks: tasks }))
    }

    /// Stops draining: later entries are for other instances, or for the next start.
    pub(crate) fn stop(&self) {
        self.0.health.stop();
    }

    /// Whether events reach groups from every source: entries are drained and groups are
    /// registered. Also updates the metric.
    pub(crate) fn is_draining(&self) -> bool {
        let draining = self.0.health.is_draining() && self.0.registrar.is_complete();
        self.0.metrics.draining.set(if draining { 1.0 } else { 0.0 });
        draining
    }

    /// Waits until this instance turns out to be incompatible with the cluster, if ever.
    pub(crate) async fn disagreement(&self) -> AgreementError {
        let mut known = self.0.disagreement.clone();
        let found = known.wait_for(Option::is_some).await.map(|found| (*found).clone());
        match found {
            Ok(Some(error)) => error,
            _ => std::future::pending().await,
        }
    }
}

/// Retries until the cluster agrees. Never returns if it does not: the disagreement ends the
/// process.
async fn agree(
    agreement: &Agreement,
    drainer: &Drainer,
    outcome: &watch::Sender<Option<AgreementError>>,
) {
    loop {
        match agreement.ask(&drainer.redis).await {
            Ok(Ok(())) => {
                return drainer.health.refusals.clear(probe::RIGHTS);
            }
            Ok(Err(error)) => {
                outcome.send_replace(Some(error));
                std::future::pending::<()>().await;
            }
            Err(ScriptError::Away(_)) => sleep(probe::RETRY).await,
            Err(ScriptError::Refused(why)) => {
                drainer.health.refusals.add(probe::RIGHTS, &why);
                sleep(probe::REFUSED_RETRY).await;
            }
        }
    }
}

fn drainer(
    settings: &SourceSettings,
    connection: SourceConnection,
    django: &DjangoLayer,
    max_event_bytes: usize,
    metrics: &Arc<SourceMetrics>,
) -> Drainer {
    let SourceConnection { redis, changes } = connection;
    let channels = &settings.channels;
    let ingress = settings.ingress.then(|| redis.names().ingress());
    Drainer {
        redis,
        changes,
        sources: SourceList::new(django.mailboxes.as_ref(), ingress),
        decoder: EntryDecoder {
            codec: Arc::clone(&django.codec),
            mailboxes: django.names.clone(),
            max_event_bytes,
        },
        addresses: django.addresses.clone(),
        scripts: Scripts::default(),
        log_limits: LogLimits::default(),
        bounds: Bounds {
            capacity: channels.capacity,
            parking: channels.parking(),
            boxes: channels.boxes,
            patience: bounds::PATIENCE,
        },
        forward_queue: django.forward_queue.clone(),
        health: Arc::new(DrainHealth::default()),
        metrics: Arc::clone(metrics),
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("health", &self.0.health).finish_non_exhaustive()
    }
}
