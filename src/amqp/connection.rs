//! One connection to a broker and its channels, with a bound on each wait.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::time::timeout;

use super::AmqpAddress;
use crate::excerpt::excerpt;

/// Longest wait for a connection or a channel. A broker that starts accepts before it answers.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Characters of a broker's words that are shown.
const MAX_WORDS: usize = 300;

/// Why a broker does not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AmqpError {
    /// It cannot be reached, or went.
    #[error("the broker cannot be reached: {0}")]
    Unreachable(String),
    /// It answers, and refuses: its own words.
    #[error("the broker refuses: {0}")]
    Refused(String),
    /// It accepts connections, and does not answer within five seconds.
    #[error("the broker does not answer within {} s", TIMEOUT.as_secs())]
    Silent,
    /// No queue takes a message.
    #[error("the broker has no such queue; a worker declares it when it starts")]
    Unroutable,
    /// What was consumed ended, as when a queue is deleted.
    #[error("the broker ended the delivery")]
    Ended,
}

impl From<lapin::Error> for AmqpError {
    fn from(error: lapin::Error) -> Self {
        let words = excerpt(&error.to_string(), MAX_WORDS);
        match error.kind() {
            ErrorKind::ProtocolError(_) => Self::Refused(words),
            _ => Self::Unreachable(words),
        }
    }
}

/// Waits for an answer of the broker, but not for ever.
pub(super) async fn within<T>(
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, AmqpError> {
    timeout(TIMEOUT, answer).await.map_err(|_| AmqpError::Silent)?.map_err(AmqpError::from)
}

/// Connects once. The connection ends with the value.
pub(super) async fn connect(address: &AmqpAddress, name: &str) -> Result<Connection, AmqpError> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    within(Connection::connect_uri(address.uri(), properties)).await
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
