//! Takes requests, gives each publication an id and hands it to the layer; waits for room within bounds.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand;
use tokio::time::{self, timeout_at};

use super::batch::Batch;
use super::keys::Keys;
use super::{PublishError, PublishRequest, Receipt, Settings};
use crate::channels::ForwardQueue;
use crate::event::{PublicationId, Target};
use crate::layer::{Control, Layer};

/// The publisher of one instance. Its callers share it: the API, browsers' `send`, drained sources.
#[derive(Debug)]
pub struct Publisher {
    settings: Settings,
    pub(super) layer: Layer,
    /// Forwards to Django's consumers what the layer accepts for groups.
    pub(super) forward_queue: Option<ForwardQueue>,
    pub(super) ids: PublicationIds,
    pub(super) keys: Keys,
}

/// Ids that no other instance gives out: 64 random bits of this process, then a count from 1.
#[derive(Debug)]
pub(super) struct PublicationIds {
    process: u64,
    count: AtomicU64,
}

/// When a caller's `publish_timeout` ends; one for everything it hands in at once.
pub(super) type Deadline = time::Instant;

/// How one request ended, for each of its targets in order.
pub(super) type Outcomes = Vec<Result<Receipt, PublishError>>;

impl Publisher {
    /// A publisher to `layer`.
    pub fn new(settings: Settings, layer: Layer) -> Self {
        let keys = Keys::new(settings.idempotency_window, settings.idempotency_keys);
        Self { settings, layer, forward_queue: None, ids: PublicationIds::random(), keys }
    }

    /// The same publisher, which also forwards to Django's consumers what the layer accepts for groups.
    pub fn with_forwarding(self, forward_queue: Option<ForwardQueue>) -> Self {
        Self { forward_queue, ..self }
    }

    /// The publisher's bounds.
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
        request: PublishRequest,
    ) -> Result<Receipt, PublishError> {
        let mut outcomes = self.publish_batch(&[(vec![target], request)]).await;
        outcomes
            .pop()
            .and_then(|mut of_request| of_request.pop())
            .expect("one outcome for one target")
    }

    /// Publishes several requests, each to several targets, in the order given; the answer has the
    /// same shape.
    ///
    /// After the first transient error nothing more is tried and the rest has the same outcome: a caller
    /// that repeats what was not accepted, in order, keeps every group's order. Lasting errors concern
    /// their request alone.
    pub async fn publish_batch(&self, requests: &[(Vec<Target>, PublishRequest)]) -> Vec<Outcomes> {
        let mut batch = Batch::new(self, requests.len());
        for (targets, request) in requests {
            batch.add(targets, request).await;
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
