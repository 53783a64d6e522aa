//! Drains a queue over one connection: publishes a batch, then acknowledges it.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use super::decode::AmqpDecoder;
use super::numbers::{AmqpNumbers, OldestMessage};
use super::refusal::AmqpRefusal;
use crate::amqp::{AmqpDeadLetters, AmqpDelivery, AmqpError, AmqpReader};
use crate::channels::ForwardQueue;
use crate::event::Target;
use crate::layer::{KeyedPublication, Layer, LayerError, OnceOutcome};
use crate::telemetry::LogLimit;

/// Messages that are published and acknowledged together: half the default prefetch.
const BATCH: usize = 128;

/// How long message ids are remembered, unless 100,000 others came since: a gateway that was
/// killed between publishing and acknowledging may be started again only the next morning.
const WINDOW: Duration = Duration::from_secs(24 * 3600);

/// While the layer accepts nothing, how often it is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// Why a session ended.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// The source was stopped.
    Stopped,
    /// The broker failed.
    Broker(AmqpError),
    /// The layer was away for too long.
    Layer(LayerError),
}

impl From<AmqpError> for SessionEnd {
    fn from(error: AmqpError) -> Self {
        Self::Broker(error)
    }
}

/// What outlives a connection.
pub(super) struct AmqpWork {
    pub(super) layer: Layer,
    /// After so long without the layer the queue is left to other instances.
    pub(super) layer_timeout: Duration,
    pub(super) decoder: AmqpDecoder,
    pub(super) dead_letters: AmqpDeadLetters,
    /// Events to groups are forwarded to Django's consumers, as those of the API are.
    pub(super) forward_queue: Option<ForwardQueue>,
    pub(super) refused_log: LogLimit,
}

/// The messages of a batch that can be published.
#[derive(Default)]
struct DecodedMessages {
    publications: Vec<KeyedPublication>,
    /// Their places in the batch.
    places: Vec<usize>,
    refused: Vec<(usize, AmqpRefusal)>,
}

impl AmqpWork {
    /// Drains until something ends it.
    pub(super) async fn drain(
        &mut self,
        reader: &mut AmqpReader,
        numbers: &AmqpNumbers,
        stopped: &mut watch::Receiver<bool>,
    ) -> SessionEnd {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let first = tokio::select! {
                biased;
                _ = stopped.changed() => return SessionEnd::Stopped,
                first = reader.next() => first,
            };
            let handled = match fill(&mut batch, first, reader) {
                Ok(()) => self.handle(&batch, reader, numbers, stopped).await,
                Err(error) => Err(error.into()),
            };
            batch.clear();
            numbers.works_on(None);
            if let Err(end) = handled {
                return end;
            }
        }
    }

    async fn handle(
        &mut self,
        batch: &[AmqpDelivery],
        reader: &mut AmqpReader,
        numbers: &AmqpNumbers,
        stopped: &watch::Receiver<bool>,
    ) -> Result<(), SessionEnd> {
        numbers.works_on(
            batch.first().map(|first| OldestMessage {
                received: first.received,
                published: first.timestamp(),
            }),
        );
        let mut decoded = self.decode(batch, numbers);
        let publications = std::mem::take(&mut decoded.publications);
        let outcomes = self.publish(publications, reader, stopped).await?;
        for (place, outcome) in decoded.places.iter().zip(outcomes) {
            match outcome {
                OnceOutcome::Sent { .. } => numbers.published(),
                OnceOutcome::Earlier { .. } => numbers.repeated(),
                // A scope that forgets its oldest keys is never full.
                OnceOutcome::OtherContent | OnceOutcome::ScopeFull => {
                    decoded.refused.push((*place, AmqpRefusal::IdReused));
                }
            }
        }
        decoded.refused.sort_by_key(|(place, _)| *place);
        self.refuse(batch, &decoded.refused, reader, numbers).await?;
        Ok(())
    }

    fn decode(&self, batch: &[AmqpDelivery], numbers: &AmqpNumbers) -> DecodedMessages {
        let mut decoded = DecodedMessages::default();
        for (place, message) in batch.iter().enumerate() {
            numbers.delivered(message.redelivered);
            match self.decoder.decode(message) {
                Ok(publication) => {
                    decoded.publications.push(publication);
                    decoded.places.push(place);
                }
                Err(refusal) => decoded.refused.push((place, refusal)),
            }
        }
        decoded
    }

    /// Publishes in order, each once if it has a key, and again for as long as the layer does not
    /// accept: what is not acknowledged is safe in the queue.
    async fn publish(
        &self,
        mut waiting: Vec<KeyedPublication>,
        reader: &AmqpReader,
        stopped: &watch::Receiver<bool>,
    ) -> Result<Vec<OnceOutcome>, SessionEnd> {
        let mut outcomes = Vec::with_capacity(waiting.len());
        let (since, mut pause) = (Instant::now(), FIRST_PAUSE);
        while !waiting.is_empty() {
            let before = outcomes.len();
            let Err(error) = self.try_publish(&waiting, &mut outcomes).await else { break };
            waiting.drain(..outcomes.len() - before);
            if !reader.is_open() {
                return Err(AmqpError::Ended.into());
            }
            if *stopped.borrow() {
                return Err(SessionEnd::Stopped);
            }
            if since.elapsed() > self.layer_timeout {
                return Err(SessionEnd::Layer(error));
            }
            if pause == FIRST_PAUSE {
                tracing::warn!(%error, "messages wait unacknowledged until the layer accepts them");
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
            for keyed in &mut waiting {
                // It has waited in the queue until now.
                keyed.publication.accepted = Instant::now();
            }
        }
        Ok(outcomes)
    }

    async fn try_publish(
        &self,
        waiting: &[KeyedPublication],
        outcomes: &mut Vec<OnceOutcome>,
    ) -> Result<(), LayerError> {
        let mut publications = waiting.iter().map(|keyed| &keyed.publication);
        let mut settle = |outcome: OnceOutcome| {
            let publication = publications.next().expect("one outcome for each publication");
            if let (Some(queue), OnceOutcome::Sent { .. }, Target::Group(group)) =
                (&self.forward_queue, &outcome, &publication.target)
            {
                queue.offer(group, &publication.event);
            }
            outcomes.push(outcome);
        };
        if waiting.iter().any(|keyed| keyed.key.is_some()) {
            return self.layer.publish_once(waiting.to_vec(), WINDOW, settle).await;
        }
        let mut ids = waiting.iter().map(|keyed| keyed.publication.id);
        let published = |position| {
            let id = ids.next().expect("one position for each publication");
            settle(OnceOutcome::Sent { id, position });
        };
        let plain = waiting.iter().map(|keyed| keyed.publication.clone()).collect();
        self.layer.publish_many(plain, published).await
    }

    /// Makes the refused messages dead letters, then acknowledges the batch.
    async fn refuse(
        &mut self,
        batch: &[AmqpDelivery],
        refused: &[(usize, AmqpRefusal)],
        reader: &mut AmqpReader,
        numbers: &AmqpNumbers,
    ) -> Result<(), AmqpError> {
        let mut rejected = Vec::new();
        for (place, refusal) in refused {
            let message = &batch[*place];
            numbers.refused(refusal.reason());
            let reason = format!("{}: {refusal}", crate::telemetry::Label::text(refusal.reason()));
            let kept = self.dead_letters.publish(message, &reason).await;
            if self.refused_log.allows() {
                let key = message.routing_key.as_str();
                tracing::warn!(%refusal, key, kept = kept.is_ok(), "message refused: dead letter");
            }
            if let Err(error) = kept {
                tracing::debug!(%error, "dead letter left to the queue's own exchange for them");
                numbers.rejected();
                reader.reject(message.tag).await?;
                rejected.push(message.tag);
            }
        }
        let is_rejected = |message: &&AmqpDelivery| rejected.contains(&message.tag);
        if let Some(last) = batch.iter().rev().find(|message| !is_rejected(message)) {
            reader.acknowledge(last.tag).await?;
        }
        if let Some(last) = batch.last() {
            reader.rejected_up_to(last.tag);
        }
        Ok(())
    }
}

/// Takes what is there already, up to a whole batch.
fn fill(
    batch: &mut Vec<AmqpDelivery>,
    first: Result<AmqpDelivery, AmqpError>,
    reader: &mut AmqpReader,
) -> Result<(), AmqpError> {
    batch.push(first?);
    while batch.len() < BATCH
        && let Some(next) = reader.try_next()?
    {
        batch.push(next);
    }
    Ok(())
}
