//! What the batches of one publisher share.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand;
use tokio::time;

use super::outcome::{PublishError, Receipt};
use super::settings::Settings;
use crate::channels::ForwardQueue;
use crate::event::PublicationId;
use crate::layer::Layer;

/// Limits, ids, and the layer.
#[derive(Debug)]
pub(super) struct BatchContext {
    pub(super) settings: Settings,
    pub(super) layer: Layer,
    /// Forwards events to groups to Django's consumers once the layer has accepted them.
    pub(super) forward_queue: Option<ForwardQueue>,
    pub(super) ids: PublicationIds,
}

/// Unique ids: 64 random bits of this process, then a count from 1.
#[derive(Debug)]
pub(super) struct PublicationIds {
    process: u64,
    count: AtomicU64,
}

/// The end of a caller's `publish_timeout`; one per batch.
pub(super) type Deadline = time::Instant;

/// The outcome of one request, for each of its targets in order.
pub(super) type Outcomes = Vec<Result<Receipt, PublishError>>;

impl BatchContext {
    pub(super) fn new(settings: Settings, layer: Layer) -> Self {
        Self { settings, layer, forward_queue: None, ids: PublicationIds::random() }
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

    pub(super) fn too_many_keys(&self, most: u32) -> PublishError {
        PublishError::TooManyKeys { most, window: self.settings.idempotency_window }
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
