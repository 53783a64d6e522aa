//! What a queue's source has done, for metrics and for people.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::refusal::AmqpReason;
use crate::clock;
use crate::telemetry::{Counter, Counters, Gauge, Label, Metrics};

/// Handles of the metrics.
#[derive(Debug)]
struct AmqpMetrics {
    delivered: Counter,
    redelivered: Counter,
    published: Counter,
    repeated: Counter,
    refused: Counters<AmqpReason>,
    rejected: Counter,
    up: Gauge,
    unacknowledged: Gauge,
    oldest: Gauge,
}

/// The numbers of one source, readable as they grow.
#[derive(Debug)]
pub(super) struct AmqpNumbers {
    metrics: AmqpMetrics,
    delivered: AtomicU64,
    redelivered: AtomicU64,
    published: AtomicU64,
    repeated: AtomicU64,
    refused: Vec<AtomicU64>,
    /// Counted where messages arrive.
    pub(super) unacknowledged: Arc<AtomicU64>,
    is_up: AtomicBool,
    oldest: Mutex<Option<OldestMessage>>,
    failure: Mutex<Option<String>>,
}

/// Since when the oldest message waits that is not acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct OldestMessage {
    pub(super) received: Instant,
    /// Seconds since 1970 by its publisher, which may be absent or wrong.
    pub(super) published: Option<u64>,
}

/// A source's numbers since the process started, and its state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AmqpSnapshot {
    /// Whether the queue is being consumed. Of several instances one is sent messages.
    pub(crate) is_up: bool,
    /// Why not, as far as is known.
    pub(crate) failure: Option<String>,
    /// Messages that came, each time that they came.
    pub(crate) delivered: u64,
    /// Those of them that had been delivered before.
    pub(crate) redelivered: u64,
    /// Messages that the layer accepted.
    pub(crate) published: u64,
    /// Messages whose id had been published before.
    pub(crate) repeated: u64,
    /// Dead letters, by reason; without those at zero.
    pub(crate) refused: Vec<(&'static str, u64)>,
    /// Messages that are not acknowledged yet.
    pub(crate) unacknowledged: u64,
    /// Seconds since the oldest of them was published, or arrived here if that is unknown.
    pub(crate) oldest_seconds: f64,
}

impl AmqpNumbers {
    /// All of them at zero.
    pub(super) fn new(metrics: &Metrics) -> Self {
        let to = metrics.registry();
        let metrics = AmqpMetrics {
            delivered: to.count("amqp_delivered_total", "Messages that the broker delivered."),
            redelivered: to.count("amqp_redelivered_total", "Messages delivered once more."),
            published: to.count("amqp_published_total", "Messages that the layer accepted."),
            repeated: to.count(
                "amqp_repeated_total",
                "Messages whose id had been published before, so that nothing was sent.",
            ),
            refused: to.counters("amqp_refused_total", "Messages that became dead letters."),
            rejected: to.count(
                "amqp_rejected_total",
                "Dead letters left to the queue, without a reason in their header.",
            ),
            up: to.measure("amqp_up", "1 while the queue is consumed."),
            unacknowledged: to.measure("amqp_unacknowledged", "Messages not acknowledged yet."),
            oldest: to.measure(
                "amqp_oldest_seconds",
                "Age of the oldest message that is not acknowledged.",
            ),
        };
        Self {
            metrics,
            delivered: AtomicU64::new(0),
            redelivered: AtomicU64::new(0),
            published: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            refused: AmqpReason::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            unacknowledged: Arc::default(),
            is_up: AtomicBool::new(false),
            oldest: Mutex::new(None),
            failure: Mutex::new(None),
        }
    }

    pub(super) fn delivered(&self, redelivered: bool) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.metrics.delivered.increment(1);
        if redelivered {
            self.redelivered.fetch_add(1, Ordering::Relaxed);
            self.metrics.redelivered.increment(1);
        }
    }

    pub(super) fn published(&self) {
        self.published.fetch_add(1, Ordering::Relaxed);
        self.metrics.published.increment(1);
    }

    pub(super) fn repeated(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
        self.metrics.repeated.increment(1);
    }

    pub(super) fn refused(&self, reason: AmqpReason) {
        self.refused[reason.index()].fetch_add(1, Ordering::Relaxed);
        self.metrics.refused.of(reason).increment(1);
    }

    pub(super) fn rejected(&self) {
        self.metrics.rejected.increment(1);
    }

    /// The message that is worked on, and behind which the others wait.
    pub(super) fn works_on(&self, oldest: Option<OldestMessage>) {
        *self.oldest.lock() = oldest;
    }

    /// What was not acknowledged is the broker's again.
    pub(super) fn holds_nothing(&self) {
        self.unacknowledged.store(0, Ordering::Relaxed);
        self.works_on(None);
    }

    /// It is consumed, or not for this reason. Returns whether that is a change.
    pub(super) fn note(&self, failure: Option<&str>) -> bool {
        let is_up = failure.is_none();
        let before = std::mem::replace(&mut *self.failure.lock(), failure.map(str::to_owned));
        let changed = self.is_up.swap(is_up, Ordering::Relaxed) != is_up;
        changed || before.as_deref() != failure
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// All numbers, and brings the gauges up to date.
    pub(super) fn snapshot(&self) -> AmqpSnapshot {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let refused = AmqpReason::ALL.iter().zip(&self.refused);
        let refused = refused.map(|(reason, count)| (reason.text(), of(count)));
        let snapshot = AmqpSnapshot {
            is_up: self.is_up(),
            failure: self.failure.lock().clone(),
            delivered: of(&self.delivered),
            redelivered: of(&self.redelivered),
            published: of(&self.published),
            repeated: of(&self.repeated),
            refused: refused.filter(|(_, count)| *count > 0).collect(),
            unacknowledged: of(&self.unacknowledged),
            oldest_seconds: self.oldest.lock().map_or(0.0, OldestMessage::seconds),
        };
        self.metrics.up.set(if snapshot.is_up { 1.0 } else { 0.0 });
        self.metrics.unacknowledged.set(snapshot.unacknowledged as f64);
        self.metrics.oldest.set(snapshot.oldest_seconds);
        snapshot
    }
}

impl OldestMessage {
    fn seconds(self) -> f64 {
        let here = self.received.elapsed().as_secs_f64();
        let since = |at: u64| clock::since_epoch().as_secs_f64() - at as f64;
        self.published.map_or(here, |at| since(at).max(here))
    }
}
