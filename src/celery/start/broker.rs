//! Takes messages to Celery's broker: lists and channels of a Redis, or exchanges as RabbitMQ has.

use std::future::Future;
use std::pin::Pin;

use serde_json::{Map, Value, json};

use super::message::{Destination, TaskMessage, enveloped, random_id, revocation};
use super::settings::TaskBroker;
use crate::amqp::{self, AmqpAddress, AmqpError, AmqpPublication, AmqpPublisher};
use crate::layer::{LayerError, ListWriter};

/// The exchange on which all workers listen for commands, unless Celery's `control_exchange` says
/// otherwise.
const CONTROL: &str = "celery.pidbox";

/// What kombu appends to a queue's name for each of its priorities on Redis: `priority_steps`.
const PRIORITIES: [&str; 4] = ["", "\u{6}\u{16}3", "\u{6}\u{16}6", "\u{6}\u{16}9"];

/// Why a message did not arrive for sure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BrokerError {
    #[error(transparent)]
    Redis(#[from] LayerError),
    #[error(transparent)]
    Amqp(#[from] AmqpError),
    #[error("system random source unavailable")]
    Random,
    /// The layer did not note whose the task is, so it was not sent.
    #[error(transparent)]
    NotNoted(LayerError),
}

impl BrokerError {
    /// Whether the message may be there all the same.
    pub(super) fn may_have_arrived(&self) -> bool {
        match self {
            Self::Redis(error) => matches!(error, LayerError::Unreachable(_)),
            Self::Amqp(error) => !matches!(
                error,
                AmqpError::Unroutable
                    | AmqpError::Unreachable(_)
                    | AmqpError::Tls(_)
                    | AmqpError::Refused(_)
            ),
            Self::Random | Self::NotNoted(_) => false,
        }
    }
}

/// A connection to Celery's broker.
pub(super) enum BrokerConnection {
    Redis { lists: ListWriter, key_prefix: String, control: String },
    Amqp { publisher: AmqpPublisher, address: AmqpAddress },
}

/// What has to run for a connection.
pub(super) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

impl BrokerConnection {
    /// Starts connecting; must be called within a runtime.
    pub(super) fn open(broker: &TaskBroker) -> Result<(Self, Running), LayerError> {
        Ok(match broker {
            TaskBroker::Redis { server, key_prefix, control } => {
                let lists = ListWriter::open(server)?;
                let (key_prefix, control) = (key_prefix.clone(), control.clone());
                // fred runs by itself.
                let running = Box::pin(std::future::pending());
                (Self::Redis { lists, key_prefix, control }, running)
            }
            TaskBroker::Amqp(address) => {
                let (publisher, running) = AmqpPublisher::open(address.clone());
                (Self::Amqp { publisher, address: address.clone() }, Box::pin(running))
            }
        })
    }

    /// Puts a task into a queue.
    pub(super) async fn enqueue(
        &self,
        task: &TaskMessage<'_>,
        queue: &str,
    ) -> Result<(), BrokerError> {
        let (headers, body) = (task.headers(), task.body());
        match self {
            Self::Redis { lists, key_prefix, .. } => {
                let tag = random_id().ok_or(BrokerError::Random)?;
                let to = Destination { exchange: "", routing_key: queue };
                let message = enveloped(&to, Some(task.id), &tag, headers, &body);
                Ok(lists.push(&format!("{key_prefix}{queue}"), message.into()).await?)
            }
            Self::Amqp { publisher, .. } => {
                let publication = AmqpPublication {
                    exchange: String::new(),
                    routing_key: queue.to_owned(),
                    headers,
                    correlation_id: Some(task.id.to_owned()),
                    body,
                    is_kept: true,
                };
                Ok(publisher.publish(publication).await?)
            }
        }
    }

    /// The tasks that wait in a queue, and the workers that read it, where the broker knows them.
    pub(super) async fn waiting(&self, queue: &str) -> Result<(u64, Option<u32>), BrokerError> {
        match self {
            Self::Redis { lists, key_prefix, .. } => {
                let lists_of_queue = PRIORITIES.map(|it| format!("{key_prefix}{queue}{it}"));
                Ok((lists.count(&lists_of_queue).await?, None))
            }
            Self::Amqp { address, .. } => {
                let (waiting, workers) = amqp::look_at(address, queue).await?;
                Ok((waiting.into(), Some(workers)))
            }
        }
    }

    /// Tells all workers to revoke a task.
    pub(super) async fn revoke(&self, id: &str, terminate: bool) -> Result<(), BrokerError> {
        let body = revocation(id, terminate);
        // Workers without a clock of their own take it as no news.
        let mut headers = Map::new();
        headers.insert("clock".to_owned(), json!(0));
        headers.insert("expires".to_owned(), Value::from(0));
        match self {
            Self::Redis { lists, control, .. } => {
                let tag = random_id().ok_or(BrokerError::Random)?;
                let to = Destination { exchange: CONTROL, routing_key: "" };
                let message = enveloped(&to, None, &tag, headers, &body);
                Ok(lists.publish(control, message.into()).await?)
            }
            Self::Amqp { publisher, .. } => {
                let publication = AmqpPublication {
                    exchange: CONTROL.to_owned(),
                    routing_key: String::new(),
                    headers,
                    correlation_id: None,
                    body,
                    is_kept: false,
                };
                Ok(publisher.publish(publication).await?)
            }
        }
    }
}
