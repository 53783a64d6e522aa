//! What is there of a topology, for `groupcast doctor`: changes nothing.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ExchangeKind};

use super::connection::{channel, connect, within};
use super::{AmqpAddress, AmqpError, AmqpTopology};

/// A queue that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AmqpQueueState {
    /// Messages that wait for a consumer.
    pub(crate) ready: u32,
    pub(crate) consumers: u32,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct AmqpInspection {
    pub(crate) exchange: Result<(), AmqpError>,
    pub(crate) queue: Result<AmqpQueueState, AmqpError>,
    /// Whether a queue that exists has the arguments it would be declared with.
    pub(crate) arguments: Result<(), AmqpError>,
    /// The exchange of dead letters; `Ok` if none is wanted.
    pub(crate) dead_letter: Result<(), AmqpError>,
    /// The queue of dead letters, if this is not left to the site.
    pub(crate) dead_letters: Option<AmqpQueueState>,
}

/// Looks at a topology. Each part on a channel of its own, which its absence closes.
pub(crate) async fn inspect(
    address: &AmqpAddress,
    topology: &AmqpTopology,
) -> Result<AmqpInspection, AmqpError> {
    let connection = connect(address, "groupcast doctor").await?;
    let queue = queue(&connection, &topology.queue).await;
    let arguments = match queue {
        // Declaring changes nothing about a queue that exists.
        Ok(_) if topology.declare => topology.agrees(&connection).await,
        _ => Ok(()),
    };
    let dead_letter = match topology.dead_letter.as_str() {
        "" => Ok(()),
        name => exchange(&connection, name).await,
    };
    let dead_letters = self::queue(&connection, &topology.dead_letter_queue()).await.ok();
    let exchange = exchange(&connection, &topology.exchange).await;
    Ok(AmqpInspection { exchange, queue, arguments, dead_letter, dead_letters })
}

async fn exchange(connection: &Connection, name: &str) -> Result<(), AmqpError> {
    let channel = channel(connection).await?;
    let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let none = FieldTable::default();
    within(channel.exchange_declare(name.into(), ExchangeKind::Topic, passive, none)).await
}

async fn queue(connection: &Connection, name: &str) -> Result<AmqpQueueState, AmqpError> {
    let channel = channel(connection).await?;
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let found = within(channel.queue_declare(name.into(), passive, FieldTable::default())).await?;
    Ok(AmqpQueueState { ready: found.message_count(), consumers: found.consumer_count() })
}
