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
mod chunk;
mod command;
mod connection;
mod decoder;
mod drainer;
mod entry;
mod health;
mod metrics;
mod place;
mod poison;
mod probe;
mod remote;
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
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::channels::{Agreement, AgreementError, DjangoLayer, FORMATS, GroupRegistrar};
use crate::layer::{RemoteRedis, ScriptError};
use crate::supervisor::Supervisor;
pub(crate) use amqp::{AmqpSettings, AmqpSource};
use bounds::Bounds;
pub(crate) use connection::SourceConnection;
use decoder::EntryDecoder;
use drainer::{Drainer, LogLimits, Scripts};
use health::DrainHealth;
pub(crate) use metrics::SourceMetrics;
use probe::Probe;
use remote::RemoteSource;
pub(crate) use settings::SourceSettings;
use source::SourceList;

/// Drains the sources of one instance. Clones share it; draining ends with the last one.
#[derive(Clone)]
pub(crate) struct Sources(Arc<Shared>);

struct Shared {
    registrar: GroupRegistrar,
    /// Of each drainer.
    health: Vec<Arc<DrainHealth>>,
    /// The channel layer's own server.
    remote: Option<RemoteRedis>,
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
        let remote = connection.servers().1.cloned();
        let drainers = drainers(settings, connection, django, max_event_bytes, metrics);
        let health = drainers.iter().map(|drainer| Arc::clone(&drainer.health)).collect();
        let (outcome, disagreement) = watch::channel(None);
        let mut tasks = JoinSet::new();
        for drainer in drainers {
            let agreement = Agreement::new(&settings.channels, FORMATS);
            let elsewhere = drainer.remote.as_ref().map(|_| Probe::of_mailboxes(django));
            let probes = [Some(Probe::new(settings, django)), elsewhere];
            let outcome = outcome.clone();
            let draining = async move {
                // First, since it names each command that is refused.
                for probe in probes.iter().flatten() {
                    probe.pass(&drainer).await;
                }
                agree(&agreement, &drainer, &outcome).await;
                drainer.run().await;
            };
            tasks.spawn(supervisor.supervise("drainer", draining));
        }
        let metrics = Arc::clone(metrics);
        let shared = Shared { registrar, health, remote, metrics, disagreement, _tasks: tasks };
        Self(Arc::new(shared))
    }

    /// Stops draining: later entries are for other instances, or for the next start.
    pub(crate) fn stop(&self) {
        self.0.health.iter().for_each(|health| health.stop());
    }

    /// Whether events reach groups from every source: entries are drained and groups are
    /// registered. Also updates the metrics.
    pub(crate) fn is_draining(&self) -> bool {
        let Shared { health, metrics, registrar, .. } = &*self.0;
        let draining = health.iter().all(|health| health.is_draining()) && registrar.is_complete();
        metrics.draining.set(if draining { 1.0 } else { 0.0 });
        let waiting: u64 = health.iter().map(|of| of.waiting.load(Ordering::Relaxed)).sum();
        metrics.waiting.set(waiting as f64);
        let is_up = self.0.remote.as_ref().is_some_and(RemoteRedis::is_answering);
        metrics.channels_up.set(if is_up { 1.0 } else { 0.0 });
        draining
    }

    /// Why the channel layer's own server is of no use, if so, without any password.
    pub(crate) fn failure(&self) -> Option<String> {
        let remote = self.0.remote.as_ref()?;
        Some(format!(
            "the channel layer's redis at {} is away: {}",
            remote.place(),
            remote.failure()?
        ))
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

/// One drainer for each server that has sources: one may be away while the other is drained.
fn drainers(
    settings: &SourceSettings,
    connection: SourceConnection,
    django: &DjangoLayer,
    max_event_bytes: usize,
    metrics: &Arc<SourceMetrics>,
) -> Vec<Drainer> {
    let SourceConnection { redis, changes, remote } = connection;
    let channels = &settings.channels;
    let ingress = settings.ingress.then(|| redis.names().ingress());
    let drainer = |changes, sources, remote| Drainer {
        redis: redis.clone(),
        remote,
        changes,
        sources,
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
    };
    let mailboxes = django.mailboxes.as_ref();
    let (Some((remote, of_remote)), Some(enrolment)) = (remote, &django.enrolment) else {
        return vec![drainer(changes, SourceList::new(mailboxes, ingress), None)];
    };
    let remote = RemoteSource::new(remote, enrolment.clone(), channels.codec.expiry);
    vec![
        drainer(changes, SourceList::new(None, ingress), None),
        drainer(of_remote, SourceList::new(mailboxes, None), Some(remote)),
    ]
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("health", &self.0.health).finish_non_exhaustive()
    }
}
