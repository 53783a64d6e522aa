//! Metrics of Django's channel layer.

use crate::telemetry::{Counter, Counters, Metrics, label};

/// Why an event was not sent to Django's consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum DjangoDrop {
    /// Too many events waited to be sent.
    Queue,
    /// Its `type` names no handler.
    Type,
    /// A mailbox was at Django's capacity; counted for each mailbox.
    Capacity,
    /// Redis refused it, or did not answer; then it may have been sent.
    Redis,
}

label!(DjangoDrop = "reason" {
    Queue = "queue",
    Type = "type",
    Capacity = "capacity",
    Redis = "redis",
});

/// The handles.
#[derive(Debug)]
pub struct ChannelsMetrics {
    /// Malformed messages.
    pub(super) unreadable: Counter,
    /// How often a held group was found unregistered.
    pub(super) missing: Counter,
    /// Messages of the pub/sub layer.
    pub(super) messages: Counter,
    /// Messages for Django's consumers: one per mailbox, or one on the pub/sub layer.
    pub(super) django_sent: Counter,
    /// Events, or messages, not sent to Django's consumers.
    pub(super) django_dropped: Counters<DjangoDrop>,
}

impl ChannelsMetrics {
    /// All of them, at zero.
    pub fn new(metrics: &Metrics) -> Self {
        let to = metrics.registry();
        Self {
            unreadable: to.count("source_unreadable_total", "Malformed entries and messages."),
            missing: to.count("source_missing_total", "Held groups found unregistered."),
            messages: to.count("source_messages_total", "Messages of the pub/sub layer."),
            django_sent: to.count("django_sent_total", "Messages for Django's consumers."),
            django_dropped: to.counters(
                "django_dropped_total",
                "Events not sent to Django's consumers, by reason.",
            ),
        }
    }
}
