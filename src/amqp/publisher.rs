//! Publishes with confirms, over one connection that is renewed while the publisher exists.
//!
//! While the broker is away a publication is refused at once: who wants it repeats it.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval, sleep_until};

use super::connection::{channel, connect, within};
use super::{AmqpAddress, AmqpError, jittered};

/// Between two attempts while the broker is away.
const RETRY: Duration = Duration::from_millis(500);

/// Between two looks whether an idle connection is still there.
const LOOK: Duration = Duration::from_millis(500);

/// Publications that may wait for the connection.
const WAITING: usize = 256;

/// Publications that wait for their confirm.
const UNCONFIRMED: usize = 256;

/// A message. Its body is JSON.
#[derive(Debug, Clone)]
pub(crate) struct AmqpPublication {
    /// Empty = the default exchange, whose routing keys are names of queues.
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) headers: Map<String, Value>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) body: Vec<u8>,
    /// Whether it outlives the broker, and is refused where no queue takes it.
    pub(crate) is_kept: bool,
}

/// A publication and where its outcome is expected.
struct AmqpRequest {
    publication: AmqpPublication,
    answer: oneshot::Sender<Result<(), AmqpError>>,
}

/// Clones share the connection.
#[derive(Clone)]
pub(crate) struct AmqpPublisher {
    requests: mpsc::Sender<AmqpRequest>,
}

impl AmqpPublisher {
    /// A publisher, and the future that has to run for it.
    pub(crate) fn open(address: AmqpAddress) -> (Self, impl Future<Output = ()>) {
        let (sender, requests) = mpsc::channel(WAITING);
        (Self { requests: sender }, run(address, requests))
    }

    /// Publishes, and waits until the broker has confirmed it.
    ///
    /// # Errors
    /// After [`AmqpError::Unroutable`] and [`AmqpError::Unreachable`] it was not published; after
    /// others it may have been.
    pub(crate) async fn publish(&self, publication: AmqpPublication) -> Result<(), AmqpError> {
        let (answer, answered) = oneshot::channel();
        let request = AmqpRequest { publication, answer };
        let busy = "too many publications wait for it";
        self.requests.try_send(request).map_err(|_| AmqpError::Unreachable(busy.to_owned()))?;
        answered.await.unwrap_or(Err(AmqpError::Ended))
    }
}

async fn run(address: AmqpAddress, mut requests: mpsc::Receiver<AmqpRequest>) {
    loop {
        let Err(error) = session(&address, &mut requests).await else { return };
        tracing::debug!(%error, "the connection for publications is renewed");
        let until = Instant::now() + jittered(RETRY);
        if refuse(&mut requests, &error, sleep_until(until)).await.is_none() {
            return;
        }
    }
}

/// Refuses what comes until something else is done; `None` = the publisher is gone.
async fn refuse<T>(
    requests: &mut mpsc::Receiver<AmqpRequest>,
    error: &AmqpError,
    until: impl Future<Output = T>,
) -> Option<T> {
    let mut until = std::pin::pin!(until);
    loop {
        tokio::select! {
            done = &mut until => return Some(done),
            request = requests.recv() => {
                let _ = request?.answer.send(Err(AmqpError::Unreachable(error.to_string())));
            }
        }
    }
}

/// One connection, until it fails or the publisher is gone.
async fn session(
    address: &AmqpAddress,
    requests: &mut mpsc::Receiver<AmqpRequest>,
) -> Result<(), AmqpError> {
    let away = AmqpError::Unreachable("it is being connected".to_owned());
    let connecting = async {
        let connection = connect(address, "groupcast tasks").await?;
        let channel = channel(&connection).await?;
        within(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok::<_, AmqpError>((connection, channel))
    };
    let Some(connected) = refuse(requests, &away, connecting).await else { return Ok(()) };
    let (_connection, channel) = connected?;
    let mut unconfirmed = FuturesUnordered::new();
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            Some(outcome) = unconfirmed.next(), if !unconfirmed.is_empty() => outcome?,
            request = requests.recv(), if unconfirmed.len() < UNCONFIRMED => match request {
                Some(request) => unconfirmed.push(publish(channel.clone(), request)),
                None => return Ok(()),
            },
            _ = look.tick() => if !channel.status().connected() {
                return Err(AmqpError::Ended);
            },
        }
    }
}

/// Publishes and answers; returns whether the channel is of further use.
async fn publish(channel: Channel, request: AmqpRequest) -> Result<(), AmqpError> {
    let outcome = confirmed(&channel, &request.publication).await;
    let is_alive = match &outcome {
        Ok(()) | Err(AmqpError::Unroutable) => Ok(()),
        Err(error) => Err(error.clone()),
    };
    // Who asked may be gone.
    let _ = request.answer.send(outcome);
    is_alive
}

async fn confirmed(channel: &Channel, publication: &AmqpPublication) -> Result<(), AmqpError> {
    let (exchange, key) = (&publication.exchange, &publication.routing_key);
    let options =
        BasicPublishOptions { mandatory: publication.is_kept, ..BasicPublishOptions::default() };
    let body = &publication.body;
    let published = channel.basic_publish(
        exchange.as_str().into(),
        key.as_str().into(),
        options,
        body,
        properties(publication),
    );
    // Unconfirmed for long: the broker is short of memory or disk, and stops reading.
    let confirmation = within(async { published.await?.await }).await?;
    match confirmation {
        Confirmation::Ack(None) | Confirmation::NotRequested => Ok(()),
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(AmqpError::Unroutable),
        Confirmation::Nack(None) => {
            Err(AmqpError::Refused("it does not take the message".to_owned()))
        }
    }
}

fn properties(publication: &AmqpPublication) -> BasicProperties {
    let mut properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_priority(0)
        .with_delivery_mode(if publication.is_kept { 2 } else { 1 })
        .with_headers(table(&publication.headers));
    if let Some(id) = &publication.correlation_id {
        properties = properties.with_correlation_id(id.as_str().into());
    }
    properties
}

fn table(object: &Map<String, Value>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in object {
        table.insert(name.as_str().into(), field(value));
    }
    table
}

/// A JSON value as kombu writes it.
fn field(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => {
                i32::try_from(integer).map_or(AMQPValue::LongLongInt(integer), AMQPValue::LongInt)
            }
            None => AMQPValue::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(values) => {
            AMQPValue::FieldArray(FieldArray::from(values.iter().map(field).collect::<Vec<_>>()))
        }
        Value::Object(object) => AMQPValue::FieldTable(table(object)),
    }
}
