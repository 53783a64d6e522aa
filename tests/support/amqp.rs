//! A client of RabbitMQ: publishes with confirms, and looks at queues.

use std::time::Duration;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::Value;

use super::soon;

/// One connection and its channel.
pub(crate) struct Amqp {
    pub(crate) channel: Channel,
    _connection: Connection,
}

/// A dead letter: its routing key, why it is one, and its body.
#[derive(Debug, PartialEq)]
pub(crate) struct DeadLetter {
    pub(crate) key: String,
    /// Empty = the broker itself made it one.
    pub(crate) reason: String,
    pub(crate) body: Vec<u8>,
}

impl Amqp {
    /// Connects, as soon as the broker takes connections again.
    pub(crate) async fn connect(url: &str) -> Self {
        // lapin has `//` as a virtual host that is called `/`.
        let url = url.replace("//?", "/%2f?");
        let url = url.strip_suffix("//").map_or(url.clone(), |url| format!("{url}/%2f"));
        let connection = soon("the broker to take connections", async {
            loop {
                match Connection::connect(&url, ConnectionProperties::default()).await {
                    Ok(connection) => return connection,
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        let connection = connection.await;
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, _connection: connection }
    }

    /// Publishes an event to the default exchange of gateways; it is in a queue afterwards.
    pub(crate) async fn publish(&self, key: &str, event: &Value) {
        self.publish_body(key, event.to_string().as_bytes(), BasicProperties::default()).await;
    }

    /// The same, with an id.
    pub(crate) async fn publish_with_id(&self, key: &str, event: &Value, id: &str) {
        let properties = BasicProperties::default().with_message_id(id.into());
        self.publish_body(key, event.to_string().as_bytes(), properties).await;
    }

    pub(crate) async fn publish_body(&self, key: &str, body: &[u8], properties: BasicProperties) {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = properties.with_delivery_mode(2);
        let sent =
            self.channel.basic_publish("groupcast".into(), key.into(), options, body, properties);
        let confirmed = soon("a confirm", async { sent.await.unwrap().await.unwrap() }).await;
        assert!(matches!(confirmed, Confirmation::Ack(None)), "{confirmed:?}");
    }

    /// Publishes numbered events as the delivery oracle expects them, and waits for all confirms.
    pub(crate) async fn publish_numbers(
        &self,
        key: &str,
        sender: u64,
        numbers: impl IntoIterator<Item = u64>,
        with_id: bool,
    ) {
        let mut confirms = Vec::new();
        for n in numbers {
            let body = format!(r#"{{"type":"paso","s":{sender},"n":{n}}}"#);
            let mut properties = BasicProperties::default().with_delivery_mode(2);
            if with_id {
                properties = properties.with_message_id(format!("{sender}-{n}").into());
            }
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let (exchange, key) = ("groupcast".into(), key.into());
            let sent =
                self.channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
            confirms.push(sent.await.unwrap());
        }
        for confirm in confirms {
            let confirmed = soon("a confirm", confirm).await.unwrap();
            assert!(matches!(confirmed, Confirmation::Ack(None)), "{confirmed:?}");
        }
    }

    /// Messages that wait in a queue, and its consumers.
    pub(crate) async fn depth(&self, queue: &str) -> (u32, u32) {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let asked = self.channel.queue_declare(queue.into(), passive, FieldTable::default());
        let queue = soon("the queue", asked).await.unwrap();
        (queue.message_count(), queue.consumer_count())
    }

    /// Takes a message out of a queue of dead letters.
    pub(crate) async fn dead_letter(&self, queue: &str) -> Option<DeadLetter> {
        let got = self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true });
        let message = soon("an answer", got).await.unwrap()?.delivery;
        let reason = message.properties.headers().as_ref();
        let reason = reason.and_then(|headers| headers.inner().get("groupcast-reason").cloned());
        Some(DeadLetter {
            key: message.routing_key.to_string(),
            reason: match reason {
                Some(AMQPValue::LongString(text)) => text.to_string(),
                _ => String::new(),
            },
            body: message.data,
        })
    }

    /// Declares a queue with these arguments and binds it to an exchange, which is declared, too.
    pub(crate) async fn declare(&self, queue: &str, exchange: &str, arguments: FieldTable) {
        let (channel, none) = (&self.channel, FieldTable::default());
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let kind = lapin::ExchangeKind::Topic;
        channel.exchange_declare(exchange.into(), kind, durable, none.clone()).await.unwrap();
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.into(), durable, arguments).await.unwrap();
        let options = QueueBindOptions::default();
        let (queue, exchange) = (queue.into(), exchange.into());
        channel.queue_bind(queue, exchange, "#".into(), options, none).await.unwrap();
    }

    pub(crate) async fn delete(&self, queue: &str) {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    }
}
