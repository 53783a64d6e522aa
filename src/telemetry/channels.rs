//! What the bridge to foreign sources counts.

use metrics::{Counter, Gauge};

use super::family::Counters;
use super::labels::{DjangoDrop, EntryFate};
use super::registry::MetricRegistry;

/// The handles of the bridge.
#[derive(Debug)]
pub struct ChannelsMetrics {
    /// Entries of durable sources.
    pub entries: Counters<EntryFate>,
    /// Entries in all sources when they were last looked at: how far draining is behind.
    pub waiting: Gauge,
    /// Entries that came back after they had been removed.
    pub duplicates: Counter,
    /// Entries and messages that say nothing.
    pub unreadable: Counter,
    /// Times that a mailbox was found at the size at which senders turn away.
    pub boxes_full: Counter,
    /// Times that senders could not find a group although it was held.
    pub missing: Counter,
    /// Messages of the pub/sub layer.
    pub messages: Counter,
    /// 1 while sources are drained.
    pub draining: Gauge,
    /// Messages for consumers of Django: one a mailbox, or one on the pub/sub layer.
    pub django_sent: Counter,
    /// Events, or messages, that Django's consumers were not sent.
    pub django_dropped: Counters<DjangoDrop>,
}

impl ChannelsMetrics {
    pub(super) fn new(to: &MetricRegistry<'_>) -> Self {
        Self {
            entries: to.counters("source_entries_total", "Entries of durable sources, by fate."),
            waiting: to.measure("source_waiting", "Entries found in sources by the last look."),
            duplicates: to.count("source_duplicates_total", "Entries that came a second time."),
            unreadable: to.count("source_unreadable_total", "Entries that say nothing."),
            boxes_full: to.count("source_full_total", "Mailboxes found full."),
            missing: to.count("source_missing_total", "Held groups that senders did not find."),
            messages: to.count("source_messages_total", "Messages of the pub/sub layer."),
            draining: to.measure("source_draining", "1 while sources are drained."),
            django_sent: to.count("django_sent_total", "Messages for Django's consumers."),
            django_dropped: to
                .counters("django_dropped_total", "Not sent to Django's consumers, by reason."),
        }
    }
}
