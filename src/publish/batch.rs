//! Several drafts on their way through the publisher: whatever needs nobody else goes to the layer together.

use std::time::Instant;

use tokio::time::timeout_at;

use super::keys::{Claim, Claimed, Content};
use super::publisher::{Deadline, Outcomes, Publisher};
use super::{PublishError, PublishRequest, Receipt};
use crate::event::{Event, Publication, PublicationId, Target};
use crate::group::GroupName;

/// A batch, of which the first drafts have been looked at.
pub(super) struct Batch<'a> {
    publisher: &'a Publisher,
    /// When the caller's publish_timeout ends; one for everything it hands in at once.
    deadline: Deadline,
    /// Of the drafts looked at. One whose publication waits is told busy until it has been sent.
    outcomes: Vec<Outcomes>,
    /// To be sent, in order.
    waiting: Vec<Publication>,
    /// Where the outcome of each of those belongs.
    places: Vec<Place>,
    /// Keys of what waits.
    claims: Vec<Claimed<'a>>,
    /// The error after which nothing more is tried.
    stopped: Option<PublishError>,
}

struct Place {
    id: PublicationId,
    draft: usize,
    target: usize,
    /// Index of its key in [`Batch::claims`].
    claim: Option<usize>,
    /// What Django's consumers are sent once it is taken.
    for_consumers: Option<(GroupName, Event)>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(publisher: &'a Publisher, drafts: usize) -> Self {
        Self {
            publisher,
            deadline: publisher.deadline(),
            outcomes: Vec::with_capacity(drafts),
            waiting: Vec::new(),
            places: Vec::new(),
            claims: Vec::new(),
            stopped: None,
        }
    }

    /// Looks at the next draft.
    pub(super) async fn add(&mut self, targets: &[Target], draft: &PublishRequest) {
        let outcomes = match &self.stopped {
            Some(error) => vec![Err(error.clone()); targets.len()],
            None => match self.claim(targets, draft).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    self.stopped = Some(error.clone()).filter(PublishError::is_transient);
                    vec![Err(error); targets.len()]
                }
            },
        };
        self.outcomes.push(outcomes);
    }

    /// What is known of a draft's outcomes before it is sent; what is to be sent waits.
    async fn claim(
        &mut self,
        targets: &[Target],
        draft: &PublishRequest,
    ) -> Result<Outcomes, PublishError> {
        let (bytes, most) = (draft.event.json().len(), self.publisher.settings().max_event_bytes);
        if bytes > most {
            return Err(PublishError::TooLarge { bytes, most });
        }
        let Some(key) = &draft.key else {
            return Ok(self.wait(targets, draft, None));
        };
        let repeated = |accepted| Ok(Receipt { repeated: true, ..accepted });
        let content = Content::of(targets, draft);
        loop {
            match self.publisher.keys.claim(key, &content, targets.len(), Instant::now()) {
                Claim::Mine(claimed) => return Ok(self.wait(targets, draft, Some(claimed))),
                Claim::Known(earlier) => return Ok(earlier.into_iter().map(repeated).collect()),
                Claim::OtherContent => return Err(self.publisher.key_reused()),
                Claim::Taken(mut released) => {
                    // Nobody waits for a key while holding one: two batches with the same keys in
                    // different order would wait for each other. And the holder may be this batch.
                    self.send().await;
                    if let Some(error) = &self.stopped {
                        return Err(error.clone());
                    }
                    // An error here is the release itself: the holder has let go of its end.
                    if timeout_at(self.deadline, released.changed()).await.is_err() {
                        return Err(self.publisher.busy());
                    }
                }
            }
        }
    }

    /// Puts those publications of a draft in line that an earlier use of its key did not reach.
    fn wait(
        &mut self,
        targets: &[Target],
        draft: &PublishRequest,
        claim: Option<Claimed<'a>>,
    ) -> Outcomes {
        let accepted = Instant::now();
        let deadline = draft.expiry.and_then(|expiry| accepted.checked_add(expiry));
        let mut outcomes = Outcomes::with_capacity(targets.len());
        for (index, target) in targets.iter().enumerate() {
            if let Some(earlier) = claim.as_ref().and_then(|claim| claim.earlier(index)) {
                outcomes.push(Ok(Receipt { repeated: true, ..earlier }));
                continue;
            }
            let id = self.publisher.ids.next();
            self.waiting.push(Publication {
                id,
                target: target.clone(),
                event: draft.event.clone(),
                except: draft.except.clone(),
                accepted,
                deadline,
                position: None,
            });
            let claim = claim.as_ref().map(|_| self.claims.len());
            let for_consumers = match target {
                Target::Group(group) if self.publisher.consumers.is_some() => {
                    Some((group.clone(), draft.event.clone()))
                }
                _ => None,
            };
            let draft = self.outcomes.len();
            self.places.push(Place { id, draft, target: index, claim, for_consumers });
            outcomes.push(Err(self.publisher.busy()));
        }
        self.claims.extend(claim);
        outcomes
    }

    /// Sends what waits. Each key learns at once what was sent, so that it knows even if the caller
    /// goes away in between.
    async fn send(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut taken = self.places.drain(..);
        let (outcomes, claims) = (&mut self.outcomes, &mut self.claims);
        let consumers = self.publisher.consumers.as_ref();
        let publications = std::mem::take(&mut self.waiting);
        let note = |position| {
            let place = taken.next().expect("the layer takes each publication once");
            let accepted = Receipt { id: place.id, position, repeated: false };
            if let Some(claim) = place.claim {
                claims[claim].note(place.target, &accepted);
            }
            if let (Some(consumers), Some((group, event))) = (consumers, &place.for_consumers) {
                consumers.offer(group, event);
            }
            outcomes[place.draft][place.target] = Ok(accepted);
        };
        let sent = self.publisher.layer.publish_many(publications, note);
        let error = match timeout_at(self.deadline, sent).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.into()),
            Err(_) => Some(self.publisher.busy()),
        };
        self.stopped = error;
        let refused = taken.next();
        drop(taken);
        self.claims.clear();
        if let Some((place, error)) = refused.zip(self.stopped.clone()) {
            self.stop(&place, &error);
        }
    }

    /// Answers `error` for the publication at `place` and for all behind it, but for what an earlier use
    /// of a key has sent.
    fn stop(&mut self, place: &Place, error: &PublishError) {
        for (index, outcomes) in self.outcomes.iter_mut().enumerate().skip(place.draft) {
            let first = if index == place.draft { place.target } else { 0 };
            for outcome in outcomes[first..].iter_mut().filter(|outcome| outcome.is_err()) {
                *outcome = Err(error.clone());
            }
        }
    }

    /// Sends what is left and gives the outcomes, one for each target of each draft.
    pub(super) async fn finish(mut self) -> Vec<Outcomes> {
        self.send().await;
        self.outcomes
    }
}
