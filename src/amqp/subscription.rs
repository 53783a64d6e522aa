//! Follows an exchange through a private queue that exists only while somebody reads it.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer, ExchangeKind};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::connection::{channel, connect, within};
use super::{AmqpAddress, AmqpError, jittered};

/// Between two attempts while the broker is away.
const RETRY: Duration = Duration::from_millis(500);

/// Messages that the broker sends ahead: the only buffer besides the queue.
const PREFETCH: u16 = 512;

/// Messages after which they are acknowledged, all at once.
const ACKNOWLEDGE: u64 = 64;

/// Messages that wait here for their reader.
const WAITING: usize = 64;

/// What is followed.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// A topic exchange. It is declared durable if nobody has declared it yet.
    pub(crate) exchange: String,
    /// The bindings, such as `task.#`.
    pub(crate) routing_keys: &'static [&'static str],
    /// Messages that the broker keeps for a reader that does not keep up; the oldest are dropped.
    pub(crate) max_messages: u32,
    /// How long it keeps each, milliseconds.
    pub(crate) max_age: u32,
}

/// What arrives. The broker waits while it is not read.
pub(crate) type AmqpFeed = mpsc::Receiver<AmqpMessage>;

/// One thing that happened to a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AmqpMessage {
    /// The subscription has begun. What was published before it is not delivered.
    Begun,
    /// The body of a message.
    Body(Vec<u8>),
    /// It cannot begin, or was interrupted. It is tried again until it succeeds.
    Away(AmqpError),
}

/// Follows until the feed is dropped.
pub(crate) fn follow(
    address: AmqpAddress,
    subscription: Subscription,
) -> (AmqpFeed, impl Future<Output = ()>) {
    let (sender, feed) = mpsc::channel(WAITING);
    let run = async move {
        loop {
            let Err(error) = session(&address, &subscription, &sender).await else { return };
            if sender.send(AmqpMessage::Away(error)).await.is_err() {
                return;
            }
            sleep(jittered(RETRY)).await;
        }
    };
    (feed, run)
}

/// One connection, until it fails or the feed is dropped.
async fn session(
    address: &AmqpAddress,
    subscription: &Subscription,
    feed: &mpsc::Sender<AmqpMessage>,
) -> Result<(), AmqpError> {
    let connection = connect(address, "groupcast").await?;
    let channel = with_exchange(&connection, subscription).await?;
    let mut messages = consume(&channel, subscription).await?;
    if feed.send(AmqpMessage::Begun).await.is_err() {
        return Ok(());
    }
    let mut handed_over = HandedOver::default();
    loop {
        let message = match messages.next().now_or_never() {
            Some(message) => message,
            None => {
                // A broker ends channels that leave something unacknowledged for long.
                handed_over.acknowledge(&channel).await?;
                messages.next().await
            }
        };
        let message = message.ok_or(AmqpError::Ended)??;
        if feed.send(AmqpMessage::Body(message.data)).await.is_err() {
            return Ok(());
        }
        handed_over.count += 1;
        handed_over.last = message.delivery_tag;
        if handed_over.count == ACKNOWLEDGE {
            handed_over.acknowledge(&channel).await?;
        }
    }
}

/// Messages that the reader has, and the broker does not know that.
#[derive(Default)]
struct HandedOver {
    count: u64,
    last: u64,
}

impl HandedOver {
    /// Acknowledges them, all at once.
    async fn acknowledge(&mut self, channel: &Channel) -> Result<(), AmqpError> {
        if std::mem::take(&mut self.count) == 0 {
            return Ok(());
        }
        let all = BasicAckOptions { multiple: true };
        within(channel.basic_ack(self.last, all)).await
    }
}

/// A channel on whose broker the exchange exists. Its publishers may not have come yet.
async fn with_exchange(
    connection: &Connection,
    subscription: &Subscription,
) -> Result<Channel, AmqpError> {
    let declare = async |channel: &Channel, options: ExchangeDeclareOptions| {
        let (name, kind) = (subscription.exchange.as_str().into(), ExchangeKind::Topic);
        within(channel.exchange_declare(name, kind, options, FieldTable::default())).await
    };
    // Asked first: a site may have declared it in another way, or forbid it to us.
    let first = channel(connection).await?;
    let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
    if declare(&first, passive).await.is_ok() {
        return Ok(first);
    }
    let second = channel(connection).await?;
    declare(&second, ExchangeDeclareOptions { durable: true, ..Default::default() }).await?;
    Ok(second)
}

async fn consume(channel: &Channel, subscription: &Subscription) -> Result<Consumer, AmqpError> {
    let mut arguments = FieldTable::default();
    let mut bound = |name: &str, value: u32| {
        arguments.insert(name.into(), AMQPValue::LongLongInt(value.into()));
    };
    bound("x-max-length", subscription.max_messages);
    bound("x-message-ttl", subscription.max_age);
    let private = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let queue = within(channel.queue_declare("".into(), private, arguments)).await?;
    let name = queue.name().clone();
    let exchange: ShortString = subscription.exchange.as_str().into();
    let none = FieldTable::default();
    for key in subscription.routing_keys {
        let (name, options) = (name.clone(), QueueBindOptions::default());
        let bound =
            channel.queue_bind(name, exchange.clone(), (*key).into(), options, none.clone());
        within(bound).await?;
    }
    within(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
    let options = BasicConsumeOptions { exclusive: true, ..Default::default() };
    within(channel.basic_consume(name, "".into(), options, none)).await
}
