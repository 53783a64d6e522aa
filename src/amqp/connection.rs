//! One connection to a broker and its channels, with a bound on each wait.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::timeout;

use super::error::TIMEOUT;
use super::{AmqpAddress, AmqpError, transport};

/// Waits for an answer of the broker, but not for ever.
pub(super) async fn within<T>(
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, AmqpError> {
    timeout(TIMEOUT, answer).await.map_err(|_| AmqpError::Silent)?.map_err(AmqpError::from)
}

/// Connects once. The connection ends with the value.
pub(super) async fn connect(address: &AmqpAddress, name: &str) -> Result<Connection, AmqpError> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let opened = timeout(TIMEOUT, transport::open(address, properties)).await;
    opened.map_err(|_| AmqpError::Silent)?
}

/// Whether a broker lets this address in.
pub(crate) async fn ask(address: &AmqpAddress) -> Result<(), AmqpError> {
    let connection = connect(address, "groupcast doctor").await?;
    channel(&connection).await.map(drop)
}

/// Messages that wait in a queue, and who reads it. It is not declared.
pub(crate) async fn look_at(address: &AmqpAddress, queue: &str) -> Result<(u32, u32), AmqpError> {
    let connection = connect(address, "groupcast doctor").await?;
    let channel = channel(&connection).await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = within(channel.queue_declare(queue.into(), passive, FieldTable::default())).await?;
    Ok((queue.message_count(), queue.consumer_count()))
}

/// A channel. An error on one closes it, not its connection.
pub(super) async fn channel(connection: &Connection) -> Result<Channel, AmqpError> {
    within(connection.create_channel()).await
}
