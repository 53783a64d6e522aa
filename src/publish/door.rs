//! Takes drafts, gives them an id and hands them to the layer, waiting for room but never for long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use aws_lc_rs::rand;
use tokio::time::{self, timeout_at};

use super::keys::{Claim, Content, Keys};
use super::{Accepted, Draft, PublishError, Settings};
use crate::event::{Publication, PublicationId, Target};
use crate::layer::{Control, Layer};

/// The door of one instance. Its callers share it: the API, browsers' `send`, drained sources.
#[derive(Debug)]
pub struct Door {
    settings: Settings,
    layer: Layer,
    ids: PublicationIds,
    keys: Keys,
}

/// Ids that no other instance draws: 64 random bits of this process, then a count from 1.
#[derive(Debug)]
struct PublicationIds {
    process: u64,
    count: AtomicU64,
}

/// When a caller's patience ends; one for everything it hands in at once.
type Deadline = time::Instant;

/// How one draft ended, for each of its targets in order.
type Outcomes = Vec<Result<Accepted, PublishError>>;

impl Door {
    /// A door to `layer`.
    pub fn new(settings: Settings, layer: Layer) -> Self {
        let keys = Keys::new(settings.idempotency_window, settings.idempotency_keys);
        Self { settings, layer, ids: PublicationIds::random(), keys }
    }

    /// The bounds that this door keeps.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Publishes to one target.
    ///
    /// Dropping the future before it answers publishes nothing and forgets the key.
    pub async fn publish(&self, target: Target, draft: Draft) -> Result<Accepted, PublishError> {
        let mut outcomes = self.publish_to(&[target], &draft, self.deadline()).await;
        outcomes.pop().expect("one outcome for one target")
    }

    /// Publishes several drafts, each to several targets, in the order given; the answer has the
    /// same shape.
    ///
    /// After the first transient error nothing more is tried and the rest answers the same error:
    /// sending again what was not accepted, in order, keeps every group's order. Lasting errors
    /// stand alone.
    pub async fn publish_batch(&self, batch: &[(Vec<Target>, Draft)]) -> Vec<Outcomes> {
        let deadline = self.deadline();
        let mut answers: Vec<Outcomes> = Vec::with_capacity(batch.len());
        let mut stopped = None;
        for (targets, draft) in batch {
            let outcomes = match &stopped {
                Some(error) => vec![Err(PublishError::clone(error)); targets.len()],
                None => self.publish_to(targets, draft, deadline).await,
            };
            stopped = stopped.or_else(|| outcomes.iter().find_map(transient));
            answers.push(outcomes);
        }
        answers
    }

    /// Sends a change of membership, or the end of connections, to every instance.
    pub async fn change(&self, change: Control) -> Result<(), PublishError> {
        match timeout_at(self.deadline(), self.layer.control(change)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(self.busy()),
        }
    }

    async fn publish_to(&self, targets: &[Target], draft: &Draft, deadline: Deadline) -> Outcomes {
        let (bytes, most) = (draft.event.json().len(), self.settings.max_event_bytes);
        if bytes > most {
            return vec![Err(PublishError::TooLarge { bytes, most }); targets.len()];
        }
        if draft.key.is_some() {
            return self.publish_once(targets, draft, deadline).await;
        }
        let mut outcomes = Outcomes::with_capacity(targets.len());
        let mut stopped = None;
        for target in targets {
            let outcome = match &stopped {
                Some(error) => Err(PublishError::clone(error)),
                None => self.send(target, draft, deadline).await,
            };
            stopped = stopped.or_else(|| transient(&outcome));
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Publishes to those targets that an earlier use of the draft's key did not reach.
    async fn publish_once(
        &self,
        targets: &[Target],
        draft: &Draft,
        deadline: Deadline,
    ) -> Outcomes {
        let all = |error: PublishError| vec![Err(error); targets.len()];
        let key = draft.key.as_ref().expect("called for drafts with a key");
        let content = Content::of(targets, draft);
        let mut claimed = loop {
            match self.keys.claim(key, &content, targets.len(), Instant::now()) {
                Claim::Mine(claimed) => break claimed,
                Claim::Known(earlier) => {
                    let again = |accepted| Ok(Accepted { repeated: true, ..accepted });
                    return earlier.into_iter().map(again).collect();
                }
                Claim::OtherContent => {
                    return all(PublishError::KeyReused(self.settings.idempotency_window));
                }
                Claim::Taken(mut released) => {
                    // An error here is the release itself: the holder has let go of its end.
                    if timeout_at(deadline, released.changed()).await.is_err() {
                        return all(self.busy());
                    }
                }
            }
        };
        let mut outcomes = Outcomes::with_capacity(targets.len());
        let mut stopped = None;
        for (i, target) in targets.iter().enumerate() {
            let outcome = match (claimed.earlier(i), &stopped) {
                (Some(accepted), _) => Ok(Accepted { repeated: true, ..accepted }),
                (None, Some(error)) => Err(PublishError::clone(error)),
                (None, None) => self.send(target, draft, deadline).await,
            };
            if let Ok(accepted) = &outcome {
                claimed.note(i, accepted);
            }
            stopped = stopped.or_else(|| transient(&outcome));
            outcomes.push(outcome);
        }
        outcomes
    }

    async fn send(
        &self,
        target: &Target,
        draft: &Draft,
        deadline: Deadline,
    ) -> Result<Accepted, PublishError> {
        let accepted = Instant::now();
        let id = self.ids.next();
        let publication = Publication {
            id,
            target: target.clone(),
            event: draft.event.clone(),
            except: draft.except.clone(),
            accepted,
            deadline: draft.expiry.and_then(|expiry| accepted.checked_add(expiry)),
            position: None,
        };
        match timeout_at(deadline, self.layer.publish(publication)).await {
            Ok(position) => Ok(Accepted { id, position: position?, repeated: false }),
            Err(_) => Err(self.busy()),
        }
    }

    fn deadline(&self) -> Deadline {
        time::Instant::now() + self.settings.patience
    }

    fn busy(&self) -> PublishError {
        PublishError::Busy(self.settings.patience)
    }
}

/// The error after which nothing more of a batch is tried, if this is one.
fn transient(outcome: &Result<Accepted, PublishError>) -> Option<PublishError> {
    outcome.as_ref().err().filter(|error| error.is_transient()).cloned()
}

impl PublicationIds {
    fn random() -> Self {
        let mut process = [0; 8];
        rand::fill(&mut process).expect("the operating system has random bytes");
        Self { process: u64::from_ne_bytes(process), count: AtomicU64::new(1) }
    }

    fn next(&self) -> PublicationId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        PublicationId(u128::from(self.process) << 64 | u128::from(count))
    }
}
