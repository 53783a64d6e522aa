//! The exchange, the queue and the dead letters of a source: declared, or used as they are found.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};

use super::AmqpError;
use super::connection::{channel, within};

/// Dead letters that are kept, the oldest dropped first: nobody may ever look at them.
const MAX_DEAD_LETTERS: i64 = 100_000;

/// Names, and what a queue is declared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmqpTopology {
    /// A durable topic exchange, to which publishers send.
    pub exchange: String,
    /// A quorum queue with a single active consumer, bound to all of the exchange.
    pub queue: String,
    /// The exchange of messages that cannot be used; empty = what the queue itself has for them.
    pub dead_letter: String,
    /// How often a message may be delivered before it is a dead letter; 0 = as the broker has it.
    pub delivery_limit: u32,
    /// Whether to declare them; otherwise they must exist.
    pub declare: bool,
}

impl AmqpTopology {
    /// The queue in which dead letters are kept.
    pub(crate) fn dead_letter_queue(&self) -> String {
        format!("{}.dead", self.queue)
    }

    /// What the queue is declared with.
    fn arguments(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        let mut text = |name: &str, value: &str| {
            arguments.insert(name.into(), AMQPValue::LongString(value.into()));
        };
        text("x-queue-type", "quorum");
        if !self.dead_letter.is_empty() {
            text("x-dead-letter-exchange", &self.dead_letter);
            // A dead letter stays in the queue until the other one has it, which takes this
            // overflow as well.
            text("x-dead-letter-strategy", "at-least-once");
            text("x-overflow", "reject-publish");
        }
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        if self.delivery_limit > 0 {
            let limit = AMQPValue::LongLongInt(self.delivery_limit.into());
            arguments.insert("x-delivery-limit".into(), limit);
        }
        arguments
    }

    /// Declares everything, each part on a channel of its own, which an error closes. Returns, in
    /// the broker's words, what exists in another form or may not be declared: it is used as it is.
    pub(super) async fn prepare(&self, connection: &Connection) -> Result<Vec<String>, AmqpError> {
        let mut differences = Vec::new();
        if !self.declare {
            return Ok(differences);
        }
        let mut note = |part: Result<(), AmqpError>| match part {
            Ok(()) => Ok(()),
            Err(AmqpError::Refused(words)) => {
                differences.push(words);
                Ok(())
            }
            Err(error) => Err(error),
        };
        note(declare_exchange(connection, &self.exchange).await)?;
        if !self.dead_letter.is_empty() {
            note(declare_exchange(connection, &self.dead_letter).await)?;
            note(self.declare_dead_letters(connection).await)?;
        }
        note(self.declare_queue(connection).await)?;
        Ok(differences)
    }

    /// Declares the queue and binds it.
    async fn declare_queue(&self, connection: &Connection) -> Result<(), AmqpError> {
        let channel = channel(connection).await?;
        queue(&channel, &self.queue, self.arguments()).await?;
        bind(&channel, &self.queue, &self.exchange).await
    }

    async fn declare_dead_letters(&self, connection: &Connection) -> Result<(), AmqpError> {
        let channel = channel(connection).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(MAX_DEAD_LETTERS));
        let name = self.dead_letter_queue();
        queue(&channel, &name, arguments).await?;
        bind(&channel, &name, &self.dead_letter).await
    }

    /// Whether a queue that exists has the arguments of this one; otherwise the broker's words.
    pub(super) async fn agrees(&self, connection: &Connection) -> Result<(), AmqpError> {
        queue(&channel(connection).await?, &self.queue, self.arguments()).await
    }
}

async fn declare_exchange(connection: &Connection, name: &str) -> Result<(), AmqpError> {
    let channel = channel(connection).await?;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let none = FieldTable::default();
    within(channel.exchange_declare(name.into(), ExchangeKind::Topic, durable, none)).await
}

async fn queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), AmqpError> {
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    within(channel.queue_declare(name.into(), durable, arguments)).await.map(drop)
}

async fn bind(channel: &Channel, queue: &str, exchange: &str) -> Result<(), AmqpError> {
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    within(channel.queue_bind(queue.into(), exchange.into(), "#".into(), options, none)).await
}
