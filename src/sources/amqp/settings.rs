//! Which queue of a broker is drained.

use std::fmt;
use std::time::Duration;

use crate::amqp::{AmqpAddress, AmqpTopology, ManagementAddress};

/// A queue of a broker, and how it is drained.
#[derive(Debug, Clone)]
pub struct AmqpSettings {
    /// The broker.
    pub(crate) address: AmqpAddress,
    /// Where a doctor may ask what the protocol does not tell.
    pub(crate) management: Option<ManagementAddress>,
    /// Exchange, queue and dead letters.
    pub topology: AmqpTopology,
    /// Messages that the broker sends ahead, to be published and acknowledged together.
    pub prefetch: u16,
    /// After so long without the layer the queue is left to other instances. Not soon: what was
    /// delivered is delivered again then, and counts against the queue's limit.
    pub layer_timeout: Duration,
    /// The largest event, bytes.
    pub max_event_bytes: usize,
}

impl AmqpSettings {
    /// The default of [`Self::prefetch`]: two batches, so that one is on its way while the other
    /// is being published.
    pub const PREFETCH: u16 = 256;

    /// The default of [`Self::layer_timeout`].
    pub const LAYER_TIMEOUT: Duration = Duration::from_secs(60);

    /// The default limit of deliveries: as good as none, and better than the 20 of RabbitMQ 4,
    /// which a broker that restarts often may reach. Quorum queues need one to keep the order of
    /// what they deliver again.
    pub const DELIVERY_LIMIT: u32 = 1000;
}

/// The broker, without user and password.
impl fmt::Display for AmqpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.address)
    }
}
