//! Takes messages to Celery's broker: lists and channels of a Redis, or exchanges as RabbitMQ has.

use std::future::Future;
use std::pin::Pin;

use serde_json::{Map, Value, json};

use super::message::{Destination, TaskMessage, enveloped, random_id, revocation};
use super::settings::TaskBroker;
use crate::amqp::{AmqpError, AmqpPublication, AmqpPublisher};
use crate::layer::{LayerError, ListWriter};

/// The exchange on which all workers listen for commands, unless Celery's `control_exchange` says
/// otherwise.
const CONTROL: &str = "celery.pidbox";

/// Why a message did not arrive for sure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BrokerError {
    #[error(transparent)]
    Redis(#[from] LayerError),
    #[error(transparent)]
    Amqp(#[from] AmqpError),
    #[error("system random source unavailable")]
    Random,
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
            Self::Random => false,
        }
    }
}

/// A connection to Celery's broker.
pub(super) enum BrokerConnection {
    Redis { lists: ListWriter, key_prefix: String, control: String },
    Amqp(AmqpPublisher),
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
                (Self::Amqp(publisher), Box::pin(running))
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
            Self::Amqp(publisher) => {
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
            Self::Amqp(publisher) => {
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
