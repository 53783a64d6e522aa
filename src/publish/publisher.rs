//! Takes drafts, gives them an id and hands them to the layer, waiting for room but never for long.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand;
use tokio::time::{self, timeout_at};

use super::batch::Batch;
use super::keys::Keys;
use super::{PublishError, PublishRequest, Receipt, Settings};
use crate::channels::Consumers;
use crate::event::{PublicationId, Target};
use crate::layer::{Control, Layer};

/// The publisher of one instance. Its callers share it: the API, browsers' `send`, drained sources.
#[derive(Debug)]
pub struct Publisher {
    settings: Settings,
    pub(super) layer: Layer,
    /// Who besides the layer is told of what is for groups.
    pub(super) consumers: Option<Consumers>,
    pub(super) ids: PublicationIds,
    pub(super) keys: Keys,
}

/// Ids that no other instance draws: 64 random bits of this process, then a count from 1.
#[derive(Debug)]
pub(super) struct PublicationIds {
    process: u64,
    count: AtomicU64,
}

/// When a caller's publish_timeout ends; one for everything it hands in at once.
pub(super) type Deadline = time::Instant;

/// How one draft ended, for each of its targets in order.
pub(super) type Outcomes = Vec<Result<Receipt, PublishError>>;

impl Publisher {
    /// A publisher to `layer`.
    pub fn new(settings: Settings, layer: Layer) -> Self {
        let keys = Keys::new(settings.idempotency_window, settings.idempotency_keys);
        Self { settings, layer, consumers: None, ids: PublicationIds::random(), keys }
    }

    /// The same publisher, by which Django's consumers are sent what the layer accepts for groups.
    pub fn with_consumers(self, consumers: Option<Consumers>) -> Self {
        Self { consumers, ..self }
    }

    /// The bounds that this publisher keeps.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Publishes to one target.
    ///
    /// Dropping the future before it answers publishes nothing and forgets the key; over Redis it may
    /// have been sent, as with [`Layer::publish`].
    pub async fn publish(
        &self,
        target: Target,
        draft: PublishRequest,
    ) -> Result<Receipt, PublishError> {
        let mut outcomes = self.publish_batch(&[(vec![target], draft)]).await;
        outcomes.pop().and_then(|mut of_draft| of_draft.pop()).expect("one outcome for one target")
    }

    /// Publishes several drafts, each to several targets, in the order given; the answer has the
    /// same shape.
    ///
    /// After the first transient error nothing more is tried and the rest answers the same error:
    /// sending again what was not accepted, in order, keeps every group's order. Lasting errors
    /// stand alone.
    pub async fn publish_batch(&self, drafts: &[(Vec<Target>, PublishRequest)]) -> Vec<Outcomes> {
        let mut batch = Batch::new(self, drafts.len());
        for (targets, draft) in drafts {
            batch.add(targets, draft).await;
        }
        batch.finish().await
    }

    /// Sends a change of membership, or the end of connections, to every instance.
    pub async fn change(&self, change: Control) -> Result<(), PublishError> {
        match timeout_at(self.deadline(), self.layer.control(change)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(self.busy()),
        }
    }

    pub(super) fn deadline(&self) -> Deadline {
        time::Instant::now() + self.settings.publish_timeout
    }

    pub(super) fn busy(&self) -> PublishError {
        PublishError::Busy(self.settings.publish_timeout)
    }

    pub(super) fn key_reused(&self) -> PublishError {
        PublishError::KeyReused(self.settings.idempotency_window)
    }
}

impl PublicationIds {
    fn random() -> Self {
        let mut process = [0; 8];
        rand::fill(&mut process).expect("the operating system has random bytes");
        Self { process: u64::from_ne_bytes(process), count: AtomicU64::new(1) }
    }

    pub(super) fn next(&self) -> PublicationId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        PublicationId(u128::from(self.process) << 64 | u128::from(count))
    }
}
