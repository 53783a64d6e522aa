//! Reads what the feed of worker events delivers, and keeps the record of workers.

use super::CeleryMetrics;
use super::availability::Availability;
use super::feed::FeedEvent;
use super::state::{StateError, guarded};
use super::worker_event::{self, WorkerEvent};
use super::workers::WorkerRecord;
use crate::telemetry::LogLimit;

/// Reads events, and counts those that are none.
pub(super) struct EventReader {
    record: WorkerRecord,
    metrics: CeleryMetrics,
    broker: Availability,
    malformed_log: LogLimit,
}

impl EventReader {
    pub(super) fn new(record: WorkerRecord, metrics: CeleryMetrics, broker: Availability) -> Self {
        Self { record, metrics, broker, malformed_log: LogLimit::default() }
    }

    /// Hands over each event of a message.
    pub(super) fn read(
        &mut self,
        event: FeedEvent,
        mut each: impl FnMut(&WorkerEvent<'_>) -> Result<(), StateError>,
    ) {
        let body = match event {
            FeedEvent::Body(body) => body,
            FeedEvent::Begun => return self.broker.note(None),
            FeedEvent::Away(error) => return self.broker.note(Some(&error)),
            FeedEvent::Interrupted => return self.metrics.lost.increment(1),
        };
        let read = || body.as_deref().map_err(Clone::clone).and_then(worker_event::events);
        let events = match guarded(read) {
            Ok(events) => events,
            Err(error) => return self.discard(&error),
        };
        self.metrics.events.increment(events.len() as u64);
        for event in events {
            let outcome = event.and_then(|event| {
                self.record.note(&event);
                each(&event)
            });
            if let Err(error) = outcome {
                self.discard(&error);
            }
        }
    }

    pub(super) fn discard(&self, error: &StateError) {
        self.metrics.malformed.increment(1);
        if self.malformed_log.allows() {
            tracing::warn!(%error, "malformed event of a celery worker discarded");
        }
    }
}
