//! Speaks somebody else's format: where events are drained from, and what they look like there.
//!
//! Three sources: mailboxes of channels_redis, into which Django's unchanged `group_send` writes; the
//! stream `<cluster>:ingress`, into which anybody may; and channels_redis' pub/sub layer, which is heard
//! and not drained. The first two wait while a gateway restarts. And one way back: what enters by the
//! gateway's own door goes to the consumers that Django still has.

mod agree;
mod batch;
pub mod codec;
mod consumers;
pub mod doctor;
mod drain;
mod failpoint;
mod forwarder;
mod health;
mod names;
mod parts;
mod registrar;
mod schedule;
mod seen;
mod settings;
mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::event::{ConnectionId, Publication, PublicationId, Target};
use crate::group::GroupName;
use crate::layer::{External, Layer, LayerError, Redis, RedisSettings};
use crate::telemetry::ChannelsMetrics;
use agree::Agreement;
pub use agree::ChannelsError;
use codec::Codec;
pub use codec::{CodecSettings, Serializer};
pub use consumers::Consumers;
use drain::{Bounds, Drainer};
use forwarder::Forwarder;
use health::DrainHealth;
use names::Mailboxes;
use parts::Addresses;
use registrar::GroupRegistrar;
pub use settings::{Channels, Receive, Settings};
use source::{EntryDecoder, Sources};

/// The bridge of one instance. Clones share it; its tasks end with the last one.
#[derive(Clone)]
pub struct ChannelLayer(Arc<Shared>);

struct Shared {
    registrar: Arc<GroupRegistrar>,
    reading: Arc<EntryDecoder>,
    mailboxes: Option<Mailboxes>,
    consumers: Option<Consumers>,
    health: Arc<DrainHealth>,
    metrics: Arc<ChannelsMetrics>,
    /// Why this instance cannot work with the others, once that is known.
    disagreement: watch::Receiver<Option<ChannelsError>>,
    /// Ended with the bridge.
    _tasks: JoinSet<()>,
}

impl Settings {
    /// What the layer is to know of the bridge.
    pub fn prepare(&self, redis: &mut RedisSettings) {
        let channels = &self.channels;
        redis.shares = channels.core.then_some(channels.boxes);
        redis.max_absence = channels.core.then_some(channels.codec.expiry);
        redis.external = channels.pubsub.then(|| External {
            prefix: names::subscribed(&channels.prefix),
            groups: channels.groups.clone(),
        });
    }
}

impl ChannelLayer {
    /// Starts it over the layer's Redis; `None` with a layer that has none, or with nothing to do.
    ///
    /// # Errors
    /// As [`Layer::start`]. Must be called within a runtime.
    pub fn start(
        settings: &Settings,
        layer: &Layer,
        max_event_bytes: usize,
        metrics: Arc<ChannelsMetrics>,
    ) -> Result<Option<Self>, LayerError> {
        let Layer::Redis(redis) = layer else { return Ok(None) };
        let channels = &settings.channels;
        if !settings.ingress && !channels.core && !channels.pubsub {
            return Ok(None);
        }
        let (mut drainer, registrar) = parts(settings, redis, max_event_bytes, &metrics)?;
        let registrar = Arc::new(registrar);
        let (reading, health) = (Arc::clone(&drainer.reading), Arc::clone(&drainer.health));
        let mailboxes = drainer.addresses.mailboxes.clone();
        let (disagree, disagreement) = watch::channel(None);
        let agreement = Agreement::new(settings, &reading.mailboxes, disagree, Arc::clone(&health));
        let mut tasks = JoinSet::new();
        if let Some((consumers, jobs)) = Consumers::open(channels, &metrics) {
            let forwarder = Forwarder {
                link: drainer.link.clone(),
                reading: Arc::clone(&reading),
                channels: channels.clone(),
                losses: consumers.losses(),
            };
            tasks.spawn(forwarder.run(jobs));
            drainer.consumers = Some(consumers);
        }
        let consumers = drainer.consumers.clone();
        let refreshing = Arc::clone(&registrar);
        tasks.spawn(async move { refreshing.run().await });
        tasks.spawn(async move {
            if agreement.reach(&drainer.link).await {
                drainer.run().await;
            }
        });
        Ok(Some(Self(Arc::new(Shared {
            registrar,
            reading,
            mailboxes,
            consumers,
            health,
            metrics,
            disagreement,
            _tasks: tasks,
        }))))
    }

    /// The groups are held here from now on; to be called once the layer is subscribed to them.
    pub async fn enter(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        self.0.registrar.enter(groups).await
    }

    /// The groups are not held here any more; to be called once the layer is unsubscribed.
    pub async fn leave(&self, groups: &[GroupName]) {
        self.0.registrar.leave(groups).await;
    }

    /// What the pub/sub layer sent to a group; `None` if it says nothing, which is counted.
    pub fn hear(&self, group: &GroupName, payload: &[u8]) -> Option<Publication> {
        let event = match self.0.reading.read_bare(payload) {
            Ok(event) => event,
            Err(error) => {
                self.0.metrics.unreadable.increment(1);
                tracing::debug!(%group, %error, "a message of the pub/sub layer says nothing");
                return None;
            }
        };
        self.0.metrics.messages.increment(1);
        Some(Publication {
            id: PublicationId::random(),
            target: Target::Group(group.clone()),
            event,
            except: Default::default(),
            accepted: Instant::now(),
            deadline: None,
            position: None,
        })
    }

    /// The way to consumers that Django still has; `None` = nothing is sent to them.
    pub fn consumers(&self) -> Option<Consumers> {
        self.0.consumers.clone()
    }

    /// By which name Django's `channel_layer.send` reaches a connection; `None` = by none.
    pub fn channel_of(&self, connection: ConnectionId) -> Option<String> {
        Some(self.0.mailboxes.as_ref()?.channel(connection))
    }

    /// Drains no more: what comes from now on is for the other instances, or for the next start.
    pub fn rest(&self) {
        self.0.health.rest();
    }

    /// Whether what waits in sources is on its way.
    pub fn is_well(&self) -> bool {
        let well = self.0.health.is_well() && self.0.registrar.has_said_all();
        self.0.metrics.draining.set(if well { 1.0 } else { 0.0 });
        well
    }

    /// Waits until it turns out that this instance cannot work with the others, if ever.
    pub async fn disagreement(&self) -> ChannelsError {
        let mut known = self.0.disagreement.clone();
        let found = known.wait_for(Option::is_some).await.map(|found| (*found).clone());
        match found {
            Ok(Some(error)) => error,
            _ => std::future::pending().await,
        }
    }
}

/// What drains and what keeps, on one more connection to Redis.
fn parts(
    settings: &Settings,
    redis: &Redis,
    max_event_bytes: usize,
    metrics: &Arc<ChannelsMetrics>,
) -> Result<(Drainer, GroupRegistrar), LayerError> {
    let channels = &settings.channels;
    let mailboxes = Mailboxes::new(channels, redis.names().cluster());
    let drained = channels.core.then(|| mailboxes.clone());
    let ingress = settings.ingress.then(|| redis.names().ingress());
    let prefixes = drained.iter().map(Mailboxes::stem).chain(ingress.clone());
    let (link, ear) = redis.handle(prefixes.collect())?;
    let addresses = Addresses { mailboxes: drained.clone(), channels: channels.clone() };
    let health = Arc::new(DrainHealth::default());
    let registrar = GroupRegistrar::new(
        link.clone(),
        addresses.clone(),
        Arc::clone(&health),
        Arc::clone(metrics),
    );
    let drainer = Drainer {
        link,
        ear,
        sources: Sources::new(drained.as_ref(), ingress),
        reading: Arc::new(EntryDecoder {
            codec: Codec::new(&channels.codec),
            mailboxes,
            max_event_bytes,
        }),
        addresses,
        bounds: Bounds {
            capacity: channels.capacity,
            waiting: channels.capacity.max(1000),
            wait: channels.codec.expiry,
            boxes: channels.boxes,
        },
        consumers: None,
        health,
        metrics: Arc::clone(metrics),
    };
    Ok((drainer, registrar))
}

impl fmt::Debug for ChannelLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelLayer").field("mailboxes", &self.0.mailboxes).finish_non_exhaustive()
    }
}
