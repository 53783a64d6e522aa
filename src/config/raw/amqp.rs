//! `[amqp]`: a queue of RabbitMQ as a source of events.

use serde::{Deserialize, Serialize};

use super::TlsTable;
use crate::config::secret::Secret;
use crate::sources::AmqpSettings;

/// `[amqp]`: the broker, and the queue that is drained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AmqpSection {
    /// Empty = no source.
    pub(crate) url: Secret,
    pub(crate) exchange: String,
    /// Empty = `groupcast.<layer.cluster>`.
    pub(crate) queue: String,
    pub(crate) dead_letter: String,
    pub(crate) declare: bool,
    pub(crate) prefetch: u16,
    pub(crate) delivery_limit: u32,
    /// Empty = it is not asked.
    pub(crate) management: Secret,
    pub(crate) tls: TlsTable,
}

impl Default for AmqpSection {
    fn default() -> Self {
        Self {
            url: Secret(String::new()),
            exchange: "groupcast".to_owned(),
            queue: String::new(),
            dead_letter: "groupcast.dead".to_owned(),
            declare: true,
            prefetch: AmqpSettings::PREFETCH,
            delivery_limit: AmqpSettings::DELIVERY_LIMIT,
            management: Secret(String::new()),
            tls: TlsTable::default(),
        }
    }
}
