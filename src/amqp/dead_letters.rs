//! Publishes messages that cannot be used to their exchange, with the reason in a header.

use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection};

use super::connection::{channel, connect, within};
use super::{AmqpAddress, AmqpDelivery, AmqpError};

/// The header with the reason.
const REASON: &str = "groupcast-reason";

/// The header with the queue in which the message was.
const QUEUE: &str = "groupcast-queue";

/// Persistent.
const DURABLE: u8 = 2;

/// After a failure, how long nothing is tried: each attempt may take seconds, in which the queue
/// would stand.
const PAUSE: Duration = Duration::from_secs(10);

/// Publishes dead letters, over a connection of its own: while memory or disk run short, RabbitMQ
/// stops reading from connections that publish, acknowledgements included.
pub(crate) struct AmqpDeadLetters {
    address: AmqpAddress,
    exchange: String,
    queue: String,
    /// Opened by the first dead letter.
    open: Option<(Connection, Channel)>,
    failed: Option<(Instant, AmqpError)>,
}

impl AmqpDeadLetters {
    /// Of `queue`, to `exchange`.
    pub(crate) fn new(address: AmqpAddress, exchange: &str, queue: &str) -> Self {
        let (exchange, queue) = (exchange.to_owned(), queue.to_owned());
        Self { address, exchange, queue, open: None, failed: None }
    }

    /// Publishes a dead letter and waits until the broker has it in a queue.
    pub(crate) async fn publish(
        &mut self,
        message: &AmqpDelivery,
        reason: &str,
    ) -> Result<(), AmqpError> {
        if let Some((at, error)) = &self.failed
            && at.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        let published = self.try_publish(message, reason).await;
        self.failed = published.as_ref().err().map(|error| (Instant::now(), error.clone()));
        if published.is_err() {
            self.open = None;
        }
        published
    }

    async fn try_publish(&mut self, message: &AmqpDelivery, reason: &str) -> Result<(), AmqpError> {
        let body = message.body.bytes().ok_or_else(|| refused("its body was not kept"))?;
        if self.exchange.is_empty() {
            return Err(refused("no exchange for dead letters is configured"));
        }
        let channel = self.channel().await?.clone();
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = self.properties(&message.properties, reason);
        let (exchange, key) = (self.exchange.as_str().into(), message.routing_key.clone());
        let sent = channel.basic_publish(exchange, key, options, body, properties);
        match within(async { sent.await?.await }).await? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(refused("no queue is bound to the exchange")),
            Confirmation::Nack(_) | Confirmation::NotRequested => {
                Err(refused("the queue of dead letters takes no more"))
            }
        }
    }

    async fn channel(&mut self) -> Result<&Channel, AmqpError> {
        let opened = match self.open.take() {
            Some(open) if open.1.status().connected() => open,
            _ => {
                let connection = connect(&self.address, "groupcast dead letters").await?;
                let channel = channel(&connection).await?;
                within(channel.confirm_select(ConfirmSelectOptions::default())).await?;
                (connection, channel)
            }
        };
        Ok(&self.open.insert(opened).1)
    }

    /// The message's own, but what would let it expire, send it elsewhere, or have it refused: a
    /// `user_id` must be that of the connection.
    fn properties(&self, of: &BasicProperties, reason: &str) -> BasicProperties {
        let mut headers = FieldTable::default();
        for (name, value) in of.headers().iter().flat_map(|headers| headers.inner()) {
            if !["CC", "BCC"].contains(&name.as_str()) {
                headers.insert(name.clone(), value.clone());
            }
        }
        for (name, value) in [(REASON, reason), (QUEUE, self.queue.as_str())] {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        let mut kept = BasicProperties::default().with_headers(headers).with_delivery_mode(DURABLE);
        type Setter = fn(BasicProperties, ShortString) -> BasicProperties;
        let texts: [(&Option<ShortString>, Setter); 7] = [
            (of.content_type(), BasicProperties::with_content_type),
            (of.content_encoding(), BasicProperties::with_content_encoding),
            (of.correlation_id(), BasicProperties::with_correlation_id),
            (of.reply_to(), BasicProperties::with_reply_to),
            (of.message_id(), BasicProperties::with_message_id),
            (of.kind(), BasicProperties::with_type),
            (of.app_id(), BasicProperties::with_app_id),
        ];
        for (text, set) in texts {
            if let Some(text) = text {
                kept = set(kept, text.clone());
            }
        }
        if let Some(timestamp) = of.timestamp() {
            kept = kept.with_timestamp(*timestamp);
        }
        kept
    }
}

fn refused(why: &str) -> AmqpError {
    AmqpError::Refused(why.to_owned())
}
