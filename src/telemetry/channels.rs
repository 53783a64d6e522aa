//! Metrics of sources and of Django's channel layer.

use metrics::{Counter, Gauge};

use super::family::Counters;
use super::labels::{DjangoDrop, EntryFate};
use super::registry::MetricRegistry;

/// The handles.
#[derive(Debug)]
pub struct ChannelsMetrics {
    /// Entries of durable sources.
    pub entries: Counters<EntryFate>,
    /// Entries in all sources at the last look: how far draining is behind.
    pub waiting: Gauge,
    /// Entries that reappeared after they had been removed.
    pub duplicates: Counter,
    /// Malformed entries and messages.
    pub unreadable: Counter,
    /// How often a mailbox was found at its capacity.
    pub boxes_full: Counter,
    /// How often a held group was found unregistered.
    pub missing: Counter,
    /// Messages of the pub/sub layer.
    pub messages: Counter,
    /// 1 while sources are drained.
    pub draining: Gauge,
    /// Messages for Django's consumers: one per mailbox, or one on the pub/sub layer.
    pub django_sent: Counter,
    /// Events, or messages, not sent to Django's consumers.
    pub django_dropped: Counters<DjangoDrop>,
}

impl ChannelsMetrics {
    pub(super) fn new(to: &MetricRegistry<'_>) -> Self {
        Self {
            entries: to.counters("source_entries_total", "Entries of durable sources, by fate."),
            waiting: to.measure("source_waiting", "Entries found in sources at the last look."),
            duplicates: to.count(
                "source_duplicates_total",
                "Entries that reappeared and were not sent again.",
            ),
            unreadable: to.count("source_unreadable_total", "Malformed entries and messages."),
            boxes_full: to.count("source_full_total", "Mailboxes found full."),
            missing: to.count("source_missing_total", "Held groups found unregistered."),
            messages: to.count("source_messages_total", "Messages of the pub/sub layer."),
            draining: to.measure("source_draining", "1 while sources are drained."),
            django_sent: to.count("django_sent_total", "Messages for Django's consumers."),
            django_dropped: to.counters(
                "django_dropped_total",
                "Events not sent to Django's consumers, by reason.",
            ),
        }
    }
}
