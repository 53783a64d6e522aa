//! Asks the servers that all instances share what lies there.

use std::time::Duration;

use tokio::time::timeout;

use crate::amqp::{self, AmqpError, AmqpInspection};
use crate::layer::{Layer, LayerError, StoredEntries};
use crate::sources::AmqpSettings;

/// Longest wait for RabbitMQ.
const PATIENCE: Duration = Duration::from_secs(2);

/// What they told.
pub(super) struct Servers {
    pub(super) stored: Result<StoredEntries, LayerError>,
    /// `None` = no RabbitMQ is configured.
    pub(super) rabbit: Option<Result<AmqpInspection, AmqpError>>,
}

pub(super) async fn ask_servers(layer: &Layer, amqp: Option<&AmqpSettings>) -> Servers {
    let rabbit = async {
        let AmqpSettings { address, topology, .. } = amqp?;
        let answer = timeout(PATIENCE, amqp::inspect(address, topology)).await;
        Some(answer.unwrap_or_else(|_| {
            Err(AmqpError::Unreachable(format!("no answer within {PATIENCE:?}")))
        }))
    };
    let (stored, rabbit) = tokio::join!(layer.stored(), rabbit);
    Servers { stored, rabbit }
}
