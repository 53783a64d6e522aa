//! A batch of requests in the publisher: those that wait for no key are sent to the layer together.

use std::time::Instant;

use tokio::time::timeout_at;

use super::context::{BatchContext, Deadline, Outcomes};
use super::keys::{Claim, Claimed, Content};
use super::outcome::{PublishError, Receipt};
use super::request::PublishRequest;
use crate::event::{Event, Publication, PublicationId, Target};
use crate::group::GroupName;

/// A batch, of which the first requests have been examined.
pub(super) struct Batch<'a> {
    context: &'a BatchContext,
    /// The end of the caller's `publish_timeout`, for the whole batch.
    deadline: Deadline,
    /// The requests examined, in order.
    requests: Vec<Examined<'a>>,
    /// Publications to be sent, in order, each with the slot of its outcome.
    waiting: Vec<(Publication, OutcomeSlot)>,
    /// The error after which the rest is not tried.
    stopped: Option<PublishError>,
}

/// A request that has been examined.
struct Examined<'a> {
    /// For each target. [`PublishError::Busy`] while its publication waits.
    outcomes: Outcomes,
    /// Its key, while any of its publications waits.
    claim: Option<Claimed<'a>>,
}

/// Where the outcome of a publication belongs.
struct OutcomeSlot {
    id: PublicationId,
    request: usize,
    target: usize,
    /// The event to forward to Django's consumers once the layer has accepted it.
    for_consumers: Option<(GroupName, Event)>,
}

impl Examined<'_> {
    fn accept(&mut self, target: usize, receipt: Receipt) {
        if let Some(claim) = &mut self.claim {
            claim.note(target, &receipt);
        }
        self.outcomes[target] = Ok(receipt);
    }

    /// Sets `error` for every target from `first` on that has no receipt.
    fn refuse(&mut self, first: usize, error: &PublishError) {
        for outcome in self.outcomes[first..].iter_mut().filter(|outcome| outcome.is_err()) {
            *outcome = Err(error.clone());
        }
    }
}

impl<'a> Batch<'a> {
    pub(super) fn new(context: &'a BatchContext, requests: usize) -> Self {
        Self {
            context,
            deadline: context.deadline(),
            requests: Vec::with_capacity(requests),
            waiting: Vec::new(),
            stopped: None,
        }
    }

    /// Examines the next request.
    pub(super) async fn add(&mut self, targets: &[Target], request: &PublishRequest) {
        let refuse = |error: PublishError| Examined {
            outcomes: vec![Err(error); targets.len()],
            claim: None,
        };
        let examined = match &self.stopped {
            Some(error) => refuse(error.clone()),
            None => match self.examine(targets, request).await {
                Ok(examined) => examined,
                Err(error) => {
                    self.stopped = Some(error.clone()).filter(PublishError::is_transient);
                    refuse(error)
                }
            },
        };
        self.requests.push(examined);
    }

    /// Determines the outcomes known before sending, and enqueues the rest.
    async fn examine(
        &mut self,
        targets: &[Target],
        request: &PublishRequest,
    ) -> Result<Examined<'a>, PublishError> {
        let (bytes, most) = (request.event.json().len(), self.context.settings.max_event_bytes);
        if bytes > most {
            return Err(PublishError::TooLarge { bytes, most });
        }
        let Some(key) = &request.key else {
            return Ok(self.enqueue(targets, request, None));
        };
        let repeated = |receipt| Ok(Receipt { repeated: true, ..receipt });
        let content = Content::of(targets, request);
        loop {
            match self.context.keys.claim(key, &content, targets.len(), Instant::now()) {
                Claim::Mine(claim) => return Ok(self.enqueue(targets, request, Some(claim))),
                Claim::Known(earlier) => {
                    let outcomes = earlier.into_iter().map(repeated).collect();
                    return Ok(Examined { outcomes, claim: None });
                }
                Claim::OtherContent => return Err(self.context.key_reused()),
                Claim::Taken(mut released) => {
                    // A batch never waits for a key while it holds another: two batches with the
                    // same keys in different order would deadlock. It may also hold this key
                    // itself.
                    self.send().await;
                    if let Some(error) = &self.stopped {
                        return Err(error.clone());
                    }
                    // An error means released: the holder has dropped its end.
                    if timeout_at(self.deadline, released.changed()).await.is_err() {
                        return Err(self.context.busy());
                    }
                }
            }
        }
    }

    /// Enqueues the publications of a request that no earlier use of its key has sent.
    fn enqueue(
        &mut self,
        targets: &[Target],
        request: &PublishRequest,
        claim: Option<Claimed<'a>>,
    ) -> Examined<'a> {
        let accepted = Instant::now();
        let deadline = request.expiry.and_then(|expiry| accepted.checked_add(expiry));
        let mut outcomes = Outcomes::with_capacity(targets.len());
        for (index, target) in targets.iter().enumerate() {
            if let Some(earlier) = claim.as_ref().and_then(|claim| claim.earlier(index)) {
                outcomes.push(Ok(Receipt { repeated: true, ..earlier }));
                continue;
            }
            let id = self.context.ids.next();
            let publication = Publication {
                id,
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
            let request = self.requests.len();
            self.waiting
                .push((publication, OutcomeSlot { id, request, target: index, for_consumers }));
            outcomes.push(Err(self.context.busy()));
        }
        Examined { outcomes, claim }
    }

    /// Sends the waiting publications. Each is recorded under its key immediately, in case the
    /// caller is cancelled in between.
    async fn send(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (publications, slots): (Vec<_>, Vec<_>) = self.waiting.drain(..).unzip();
        let mut slots = slots.into_iter();
        let forward_queue = self.context.forward_queue.as_ref();
        let requests = &mut self.requests;
        let published = |position| {
            let slot = slots.next().expect("the layer publishes each publication once");
            if let (Some(queue), Some((group, event))) = (forward_queue, &slot.for_consumers) {
                queue.offer(group, event);
            }
            let receipt = Receipt { id: slot.id, position, repeated: false };
            requests[slot.request].accept(slot.target, receipt);
        };
        let sending = self.context.layer.publish_many(publications, published);
        let error = match timeout_at(self.deadline, sending).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.into()),
            Err(_) => Some(self.context.busy()),
        };
        if let (Some(first), Some(error)) = (slots.next(), &error) {
            self.refuse_from(&first, error);
        }
        self.requests.iter_mut().for_each(|request| request.claim = None);
        self.stopped = error;
    }

    /// Sets `error` for the publication of `slot` and all after it.
    fn refuse_from(&mut self, slot: &OutcomeSlot, error: &PublishError) {
        self.requests[slot.request].refuse(slot.target, error);
        for request in &mut self.requests[slot.request + 1..] {
            request.refuse(0, error);
        }
    }

    /// Sends the rest and returns the outcomes, one for each target of each request.
    pub(super) async fn finish(mut self) -> Vec<Outcomes> {
        self.send().await;
        self.requests.into_iter().map(|request| request.outcomes).collect()
    }
}
