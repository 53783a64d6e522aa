//! Consumes a queue over one connection: in order, as far ahead as the prefetch allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::sync::mpsc;

use super::connection::{channel, connect, within};
use super::delivery::{AmqpArrival, Intake};
use super::{AmqpAddress, AmqpDelivery, AmqpError, AmqpTopology};

/// What a queue is read with.
#[derive(Debug, Clone)]
pub(crate) struct AmqpReading {
    pub(crate) address: AmqpAddress,
    pub(crate) topology: AmqpTopology,
    /// Messages that the broker sends ahead: the only buffer besides the queue.
    pub(crate) prefetch: u16,
    /// Larger bodies cannot be events.
    pub(crate) max_event_bytes: usize,
    /// Counts the messages that have arrived and are not acknowledged.
    pub(crate) unacknowledged: Arc<AtomicU64>,
}

/// A consumer. Dropping it gives back what is not acknowledged, once the broker notices.
pub(crate) struct AmqpReader {
    connection: Connection,
    channel: Channel,
    arrivals: mpsc::Receiver<AmqpArrival>,
    unacknowledged: Arc<AtomicU64>,
    /// The number of the next message.
    next_tag: u64,
    /// The number of the first message that is not acknowledged.
    first_open: u64,
    _consumer: Consumer,
}

impl AmqpReader {
    /// Connects, declares what is to be declared, and consumes. Returns also, in the broker's
    /// words, what exists in another form.
    pub(crate) async fn open(reading: &AmqpReading) -> Result<(Self, Vec<String>), AmqpError> {
        let connection = connect(&reading.address, "groupcast source").await?;
        let differences = reading.topology.prepare(&connection).await?;
        let channel = channel(&connection).await?;
        // Before consuming: lapin itself has no bound. Not global, which quorum queues refuse.
        within(channel.basic_qos(reading.prefetch, BasicQosOptions::default())).await?;
        let (arrivals, receiver) = mpsc::channel(usize::from(reading.prefetch) + 2);
        let unacknowledged = Arc::clone(&reading.unacknowledged);
        unacknowledged.store(0, Ordering::Relaxed);
        let (queue, none) = (reading.topology.queue.as_str().into(), FieldTable::default());
        let consume = channel.basic_consume(queue, "".into(), BasicConsumeOptions::default(), none);
        let consumer = within(consume).await?;
        consumer.set_delegate(Intake {
            arrivals,
            max_event_bytes: reading.max_event_bytes,
            large: Intake::budget(),
            unacknowledged: Arc::clone(&unacknowledged),
        });
        let reader = Self {
            connection,
            channel,
            arrivals: receiver,
            unacknowledged,
            next_tag: 1,
            first_open: 1,
            _consumer: consumer,
        };
        Ok((reader, differences))
    }

    /// The next message. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Result<AmqpDelivery, AmqpError> {
        let arrival = self.arrivals.recv().await;
        self.in_order(arrival.ok_or(AmqpError::Ended)?)
    }

    /// The next message, if it is there already.
    pub(crate) fn try_next(&mut self) -> Result<Option<AmqpDelivery>, AmqpError> {
        match self.arrivals.try_recv() {
            Ok(arrival) => self.in_order(arrival).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// lapin hands over the first messages of a consumer while its delegate is being set; should
    /// it ever leave one behind, acknowledging those after it would lose it.
    fn in_order(&mut self, arrival: AmqpArrival) -> Result<AmqpDelivery, AmqpError> {
        match arrival {
            AmqpArrival::Message(message) if message.tag == self.next_tag => {
                self.next_tag += 1;
                Ok(message)
            }
            AmqpArrival::Message(_) => Err(AmqpError::Ended),
            AmqpArrival::End(error) => Err(error),
        }
    }

    /// Whether the broker is still there, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        self.channel.status().connected()
    }

    /// Acknowledges all messages up to and including this one.
    pub(crate) async fn acknowledge(&mut self, last: u64) -> Result<(), AmqpError> {
        within(self.channel.basic_ack(last, BasicAckOptions { multiple: true })).await?;
        let count = (last + 1).saturating_sub(self.first_open);
        self.first_open = last + 1;
        self.settled(count);
        Ok(())
    }

    /// Makes a message a dead letter, as the queue has it. To be followed by an acknowledgement of
    /// one behind it, or by [`Self::rejected_up_to`].
    pub(crate) async fn reject(&self, tag: u64) -> Result<(), AmqpError> {
        within(self.channel.basic_reject(tag, BasicRejectOptions { requeue: false })).await
    }

    /// Counts messages as settled that were all rejected.
    pub(crate) fn rejected_up_to(&mut self, last: u64) {
        let count = (last + 1).saturating_sub(self.first_open);
        self.first_open = last + 1;
        self.settled(count);
    }

    fn settled(&self, count: u64) {
        let less = |open: u64| Some(open.saturating_sub(count));
        let _ = self.unacknowledged.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Gives back at once what is not acknowledged.
    pub(crate) async fn close(self) {
        let _ = within(self.connection.close(200, "".into())).await;
        self.unacknowledged.store(0, Ordering::Relaxed);
    }
}
