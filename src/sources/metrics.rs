//! Metrics of durable sources.

use crate::telemetry::{Counter, Counters, Gauge, Metrics, label};

/// The outcome of an entry of a durable source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum EntryFate {
    /// Sent to the group, user or connection that it addresses.
    Sent,
    /// Parked until an instance listens.
    Parked,
    /// No listener, now or recently.
    NoListener,
    /// Removed without being sent: malformed, or sent before.
    Removed,
    /// Another instance was faster.
    TakenElsewhere,
    /// Could not be sent and stays in the source; counted at each attempt.
    LeftInSource,
}

label!(EntryFate = "fate" {
    Sent = "sent",
    Parked = "parked",
    NoListener = "no_listener",
    Removed = "removed",
    TakenElsewhere = "taken_elsewhere",
    LeftInSource = "left_in_source",
});

/// Handles of these metrics.
#[derive(Debug)]
pub(crate) struct SourceMetrics {
    /// Entries of durable sources.
    pub(super) entries: Counters<EntryFate>,
    /// Entries in all sources at the last read: the backlog of draining.
    pub(super) waiting: Gauge,
    /// Entries that reappeared after they had been removed.
    pub(super) duplicates: Counter,
    /// Malformed entries.
    pub(super) unreadable: Counter,
    /// Entries set aside.
    pub(super) set_aside: Counter,
    /// How often a mailbox was found at its capacity.
    pub(super) boxes_full: Counter,
    /// 1 while sources are drained.
    pub(super) draining: Gauge,
    /// 1 while the channel layer's own server answers.
    pub(super) channels_up: Gauge,
}

impl SourceMetrics {
    /// Registers the metrics, all at zero.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let to = metrics.registry();
        Self {
            entries: to.counters("source_entries_total", "Entries of durable sources, by fate."),
            waiting: to.measure("source_waiting", "Entries found in sources at the last look."),
            duplicates: to.count(
                "source_duplicates_total",
                "Entries that reappeared and were not sent again.",
            ),
            unreadable: to.count("source_unreadable_total", "Malformed entries and messages."),
            set_aside: to.count(
                "source_set_aside_total",
                "Entries that failed again and again or ended processes, and were set aside.",
            ),
            boxes_full: to.count("source_full_total", "Mailboxes found full."),
            draining: to.measure("source_draining", "1 while sources are drained."),
            channels_up: to.measure(
                "channels_up",
                "1 while the server of channels.url answers; 0 if there is none.",
            ),
        }
    }
}
