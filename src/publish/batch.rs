//! A batch of requests in the publisher, which goes to the layer with few commands.

use std::time::Instant;
use std::vec;

use tokio::time::timeout_at;

use super::context::{BatchContext, Deadline, Outcomes};
use super::outcome::{PublishError, Receipt};
use super::request::PublishRequest;
use crate::event::{Event, Position, Publication, PublicationId, Target};
use crate::group::GroupName;
use crate::layer::{KeyedPublication, OnceOutcome};

/// A batch, of which the first requests have been examined.
pub(super) struct Batch<'a> {
    context: &'a BatchContext,
    /// The end of the caller's `publish_timeout`, for the whole batch.
    deadline: Deadline,
    /// For each target of each request examined. [`PublishError::Busy`] while its publication
    /// waits.
    outcomes: Vec<Outcomes>,
    /// Publications to be sent, in order.
    waiting: Vec<KeyedPublication>,
    /// Where the outcome of each belongs.
    slots: Vec<OutcomeSlot>,
}

/// Where the outcome of a publication belongs.
struct OutcomeSlot {
    id: PublicationId,
    request: usize,
    target: usize,
    /// The most keys that the owner of its key may have.
    most_keys: u32,
    /// The event to forward to Django's consumers once the layer has accepted it.
    for_consumers: Option<(GroupName, Event)>,
}

/// What the layer answers for one publication.
enum Sending {
    /// Without a key: it was sent, at this position.
    Plain(Option<Position>),
    /// With a key.
    Once(OnceOutcome),
}

impl OutcomeSlot {
    /// The outcome for the caller. What was sent now is forwarded to Django's consumers.
    fn outcome(self, context: &BatchContext, sending: Sending) -> Result<Receipt, PublishError> {
        let receipt = match sending {
            Sending::Plain(position) => Receipt { id: self.id, position, repeated: false },
            Sending::Once(OnceOutcome::Sent { id, position }) => {
                Receipt { id, position, repeated: false }
            }
            Sending::Once(OnceOutcome::Earlier { id, position }) => {
                return Ok(Receipt { id, position, repeated: true });
            }
            Sending::Once(OnceOutcome::OtherContent) => return Err(context.key_reused()),
            Sending::Once(OnceOutcome::ScopeFull) => {
                return Err(context.too_many_keys(self.most_keys));
            }
        };
        if let (Some(queue), Some((group, event))) = (&context.forward_queue, &self.for_consumers) {
            queue.offer(group, event);
        }
        Ok(receipt)
    }
}

impl<'a> Batch<'a> {
    pub(super) fn new(context: &'a BatchContext, requests: usize) -> Self {
        Self {
            context,
            deadline: context.deadline(),
            outcomes: Vec::with_capacity(requests),
            waiting: Vec::new(),
            slots: Vec::new(),
        }
    }

    /// Examines the next request: its publications wait, or are refused.
    pub(super) fn add(&mut self, targets: &[Target], request: &PublishRequest) {
        let settings = &self.context.settings;
        let (bytes, most) = (request.event.json().len(), settings.max_event_bytes);
        if bytes > most {
            self.outcomes.push(vec![Err(PublishError::TooLarge { bytes, most }); targets.len()]);
            return;
        }
        let key = request.key.as_ref().map(|key| key.once(request.content(), settings));
        let accepted = Instant::now();
        let deadline = request.expiry.and_then(|expiry| accepted.checked_add(expiry));
        for (index, target) in targets.iter().enumerate() {
            let publication = Publication {
                id: self.context.ids.next(),
                target: target.clone(),
                event: request.event.clone(),
                except: request.except.clone(),
                accepted,
                deadline,
                position: None,
            };
            let for_consumers = match target {
                Target::Group(group) if self.context.forward_queue.is_some() => {
                    Some((group.clone(), request.event.clone()))
                }
                _ => None,
            };
            let slot = OutcomeSlot {
                id: publication.id,
                request: self.outcomes.len(),
                target: index,
                most_keys: key.as_ref().map_or(0, |key| key.capacity),
                for_consumers,
            };
            self.waiting.push(KeyedPublication { publication, key: key.clone() });
            self.slots.push(slot);
        }
        self.outcomes.push(vec![Err(self.context.busy()); targets.len()]);
    }

    /// Sends what waits. Returns the outcomes, one for each target of each request.
    pub(super) async fn finish(mut self) -> Vec<Outcomes> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut slots = std::mem::take(&mut self.slots).into_iter();
        if let Err(error) = self.send(waiting, &mut slots).await {
            // The rest is not tried, so that repeating it keeps the order.
            for slot in slots {
                self.outcomes[slot.request][slot.target] = Err(error.clone());
            }
        }
        self.outcomes
    }

    /// Sends publications, and takes the slot of each that has an outcome.
    async fn send(
        &mut self,
        waiting: Vec<KeyedPublication>,
        slots: &mut vec::IntoIter<OutcomeSlot>,
    ) -> Result<(), PublishError> {
        let (context, outcomes) = (self.context, &mut self.outcomes);
        let mut settle = |sending: Sending| {
            let slot = slots.next().expect("the layer answers once for each publication");
            let (request, target) = (slot.request, slot.target);
            outcomes[request][target] = slot.outcome(context, sending);
        };
        let layer = &context.layer;
        let sent = if waiting.iter().any(|it| it.key.is_some()) {
            let window = context.settings.idempotency_window;
            let done = |outcome| settle(Sending::Once(outcome));
            timeout_at(self.deadline, layer.publish_once(waiting, window, done)).await
        } else {
            let plain = waiting.into_iter().map(|it| it.publication).collect();
            let published = |position| settle(Sending::Plain(position));
            timeout_at(self.deadline, layer.publish_many(plain, published)).await
        };
        match sent {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(context.busy()),
        }
    }
}
