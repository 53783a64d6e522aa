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
mod courier;
pub mod doctor;
mod drain;
mod failpoint;
mod health;
mod keeper;
mod names;
mod parts;
mod seen;
mod settings;
mod source;
#[cfg(test)]
mod tests;
mod turns;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::event::{ConnectionId, Publication, PublicationId, Target};
use crate::group::GroupName;
use crate::layer::{Foreign, Layer, LayerError, Redis, RedisSettings};
use crate::telemetry::BridgeMetrics;
use agree::Agreement;
pub use agree::BridgeError;
use codec::Codec;
pub use codec::{CodecSettings, Serializer};
pub use consumers::Consumers;
use courier::Courier;
use drain::{Bounds, Drainer};
use health::Vigour;
use keeper::Keeper;
use names::Mailboxes;
use parts::Addresses;
pub use settings::{Channels, Receive, Settings};
use source::{Reading, Sources};

/// The bridge of one instance. Clones share it; its tasks end with the last one.
#[derive(Clone)]
pub struct Bridge(Arc<Shared>);

struct Shared {
    keeper: Arc<Keeper>,
    reading: Arc<Reading>,
    mailboxes: Option<Mailboxes>,
    consumers: Option<Consumers>,
    vigour: Arc<Vigour>,
    metrics: Arc<BridgeMetrics>,
    /// Why this instance cannot work with the others, once that is known.
    disagreement: watch::Receiver<Option<BridgeError>>,
    /// Ended with the bridge.
    _tasks: JoinSet<()>,
}

impl Settings {
    /// What the layer is to know of the bridge.
    pub fn prepare(&self, redis: &mut RedisSettings) {
        let channels = &self.channels;
        redis.boxes = channels.core.then_some(channels.boxes);
        redis.boxes = channels.core.then_some(channels.boxes);
        redis.source_expiry = channels.core.then_some(channels.codec.expiry);
        redis.foreign = channels.pubsub.then(|| Foreign {
            prefix: names::subscribed(&channels.prefix),
            groups: channels.groups.clone(),
        });
    }
}

impl Bridge {
    /// Starts it over the layer's Redis; `None` with a layer that has none, or with nothing to do.
    ///
    /// # Errors
    /// As [`Layer::start`]. Must be called within a runtime.
    pub fn start(
        settings: &Settings,
        layer: &Layer,
        max_event_bytes: usize,
        metrics: Arc<BridgeMetrics>,
    ) -> Result<Option<Self>, LayerError> {
        let Layer::Redis(redis) = layer else { return Ok(None) };
        let channels = &settings.channels;
        if !settings.ingress && !channels.core && !channels.pubsub {
            return Ok(None);
        }
        let (mut drainer, keeper) = parts(settings, redis, max_event_bytes, &metrics)?;
        let keeper = Arc::new(keeper);
        let (reading, vigour) = (Arc::clone(&drainer.reading), Arc::clone(&drainer.vigour));
        let mailboxes = drainer.addresses.mailboxes.clone();
        let (disagree, disagreement) = watch::channel(None);
        let agreement = Agreement::new(settings, &reading.mailboxes, disagree, Arc::clone(&vigour));
        let mut tasks = JoinSet::new();
        if let Some((consumers, errands)) = Consumers::open(channels, &metrics) {
            let courier = Courier {
                link: drainer.link.clone(),
                reading: Arc::clone(&reading),
                channels: channels.clone(),
                losses: consumers.losses(),
            };
            tasks.spawn(courier.run(errands));
            drainer.consumers = Some(consumers);
        }
        let consumers = drainer.consumers.clone();
        let refreshing = Arc::clone(&keeper);
        tasks.spawn(async move { refreshing.run().await });
        tasks.spawn(async move {
            if agreement.reach(&drainer.link).await {
                drainer.run().await;
            }
        });
        Ok(Some(Self(Arc::new(Shared {
            keeper,
            reading,
            mailboxes,
            consumers,
            vigour,
            metrics,
            disagreement,
            _tasks: tasks,
        }))))
    }

    /// The groups are held here from now on; to be called once the layer is subscribed to them.
    pub async fn enter(&self, groups: &[GroupName]) -> Result<(), LayerError> {
        self.0.keeper.enter(groups).await
    }

    /// The groups are not held here any more; to be called once the layer is unsubscribed.
    pub async fn leave(&self, groups: &[GroupName]) {
        self.0.keeper.leave(groups).await;
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
        self.0.vigour.rest();
    }

    /// Whether what waits in sources is on its way.
    pub fn is_well(&self) -> bool {
        let well = self.0.vigour.is_well() && self.0.keeper.has_said_all();
        self.0.metrics.draining.set(if well { 1.0 } else { 0.0 });
        well
    }

    /// Waits until it turns out that this instance cannot work with the others, if ever.
    pub async fn disagreement(&self) -> BridgeError {
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
    metrics: &Arc<BridgeMetrics>,
) -> Result<(Drainer, Keeper), LayerError> {
    let channels = &settings.channels;
    let mailboxes = Mailboxes::new(channels, redis.names().cluster());
    let drained = channels.core.then(|| mailboxes.clone());
    let ingress = settings.ingress.then(|| redis.names().ingress());
    let prefixes = drained.iter().map(Mailboxes::stem).chain(ingress.clone());
    let (link, ear) = redis.link(prefixes.collect())?;
    let addresses = Addresses { mailboxes: drained.clone(), channels: channels.clone() };
    let vigour = Arc::new(Vigour::default());
    let keeper =
        Keeper::new(link.clone(), addresses.clone(), Arc::clone(&vigour), Arc::clone(metrics));
    let drainer = Drainer {
        link,
        ear,
        sources: Sources::new(drained.as_ref(), ingress),
        reading: Arc::new(Reading {
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
        vigour,
        metrics: Arc::clone(metrics),
    };
    Ok((drainer, keeper))
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").field("mailboxes", &self.0.mailboxes).finish_non_exhaustive()
    }
}
