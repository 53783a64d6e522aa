//! Django's channel layer (channels_redis): its message format, its names in Redis, the
//! registration of groups that its senders find, and the forwarding of events to its consumers.
//!
//! `sources` takes what its senders write from Redis.

mod addresses;
pub(crate) mod agreement;
pub mod codec;
mod enrolment;
mod forward_queue;
mod forwarder;
mod mailbox_names;
mod metrics;
mod pubsub;
mod refusals;
mod registrar;
mod settings;

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::layer::{RedisHandle, RemoteRedis};
use crate::supervisor::Supervisor;

pub(crate) use addresses::GroupAddresses;
pub(crate) use agreement::{Agreement, FORMATS};
pub use agreement::{AgreementError, Formats};
pub(crate) use codec::Codec;
pub use codec::{CodecSettings, Serializer};
pub(crate) use enrolment::Enrolment;
pub use forward_queue::ForwardQueue;
use forwarder::Forwarder;
pub use mailbox_names::MailboxNames;
pub use metrics::ChannelsMetrics;
pub use pubsub::PubsubDecoder;
pub(crate) use refusals::Refusals;
pub(crate) use registrar::ChosenBy;
pub use registrar::GroupRegistrar;
pub use settings::{ChannelSettings, Receive};

/// The parts that connect this instance to Django's channel layer, each for a different caller.
pub struct DjangoLayer {
    /// Registers groups that are subscribed.
    pub registrar: GroupRegistrar,
    /// Gives connections their channel names; `None` if mailboxes are not received.
    pub mailboxes: Option<MailboxNames>,
    /// Decodes messages of the pub/sub layer.
    pub pubsub: PubsubDecoder,
    /// Takes events for consumers; `None` if nothing is forwarded.
    pub forward_queue: Option<ForwardQueue>,
    /// Where senders look on a server of their own.
    pub(crate) enrolment: Option<Enrolment>,
    pub(crate) addresses: GroupAddresses,
    pub(crate) names: MailboxNames,
    pub(crate) codec: Arc<Codec>,
    /// Ended with this.
    _tasks: JoinSet<()>,
}

impl DjangoLayer {
    /// Starts registering and forwarding over `redis`; what senders see is on `remote`, if that
    /// exists. Must be called within a runtime.
    ///
    /// Ingress alone needs it, too: registered groups are those for which entries are parked.
    pub fn start(
        settings: &ChannelSettings,
        (redis, remote): (&RedisHandle, Option<&RemoteRedis>),
        max_event_bytes: usize,
        metrics: &Arc<ChannelsMetrics>,
        supervisor: &Supervisor,
    ) -> Self {
        let names = MailboxNames::new(settings, redis.names().cluster());
        let mailboxes = settings.core.then(|| names.clone());
        let addresses = GroupAddresses { mailboxes: mailboxes.clone(), settings: settings.clone() };
        let codec = Arc::new(Codec::new(&settings.codec));
        let pubsub = PubsubDecoder::new(Arc::clone(&codec), max_event_bytes, Arc::clone(metrics));
        let mut tasks = JoinSet::new();
        let enrolment = remote.map(|remote| {
            let (layer, metrics) = (redis.clone(), Arc::clone(metrics));
            Enrolment::new(remote.clone(), layer, addresses.clone(), metrics)
        });
        if let Some(enrolment) = enrolment.clone() {
            let refresh = async move { enrolment.run().await };
            tasks.spawn(supervisor.supervise("enrolment", refresh));
        }
        let (of, counted) = (addresses.clone(), Arc::clone(metrics));
        let registrar = GroupRegistrar::new(redis.clone(), of, enrolment.clone(), counted);
        let refreshing = registrar.clone();
        let refresh = async move { refreshing.run().await };
        tasks.spawn(supervisor.supervise("group registrar", refresh));
        let forwarding = ForwardQueue::open(settings, metrics).map(|(queue, jobs)| {
            let forwarder = Forwarder {
                redis: redis.clone(),
                remote: remote.cloned(),
                codec: Arc::clone(&codec),
                names: names.clone(),
                settings: settings.clone(),
                drops: queue.drops(),
            };
            tasks.spawn(supervisor.supervise("forwarder", forwarder.run(jobs)));
            queue
        });
        Self {
            registrar,
            mailboxes,
            pubsub,
            forward_queue: forwarding,
            enrolment,
            addresses,
            names,
            codec,
            _tasks: tasks,
        }
    }
}
