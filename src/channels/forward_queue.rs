//! Queues events for Django's consumers.
//!
//! A publisher never waits for it: an event without room is dropped, counted and logged. Events
//! that came from Django's channel layer are never offered here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::ChannelSettings;
use super::metrics::{ChannelsMetrics, DjangoDrop};
use crate::byte_budget::ByteBudget;
use crate::event::Event;
use crate::group::{GroupName, GroupPattern};
use crate::telemetry::LogLimit;

/// Events that may be queued: a few of the largest batches that the API takes at once.
const CAPACITY: usize = 8192;

/// Bytes of JSON that may be queued.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Methods of Channels' own consumer classes (channels 4.3). A message whose `type` is one of these
/// names calls the method, no matter who sent the message.
const METHODS: [&str; 21] = [
    "accept",
    "as_asgi",
    "close",
    "connect",
    "decode_json",
    "disconnect",
    "dispatch",
    "encode_json",
    "handle",
    "http_disconnect",
    "http_request",
    "receive",
    "receive_json",
    "send",
    "send_body",
    "send_headers",
    "send_json",
    "send_response",
    "websocket_connect",
    "websocket_disconnect",
    "websocket_receive",
];

/// Takes accepted events. Clones share the queue.
#[derive(Clone)]
pub struct ForwardQueue {
    jobs: mpsc::Sender<ForwardJob>,
    budget: Arc<ByteBudget>,
    groups: Arc<[GroupPattern]>,
    drops: Arc<DropCounter>,
}

/// A job of the forwarder; jobs are done in order.
pub(super) enum ForwardJob {
    /// Forward to the consumers of a group.
    Send(GroupName, Event),
    /// Answer once all earlier jobs are done.
    Flush(oneshot::Sender<()>),
}

/// The forwarder's end of the queue.
pub(super) struct ForwardJobs {
    jobs: mpsc::Receiver<ForwardJob>,
    budget: Arc<ByteBudget>,
}

/// Counts and logs events that are not forwarded.
pub(super) struct DropCounter {
    metrics: Arc<ChannelsMetrics>,
    log: LogLimit,
}

impl ForwardQueue {
    /// Both ends; `None` if nothing is to be forwarded.
    pub(super) fn open(
        settings: &ChannelSettings,
        metrics: &Arc<ChannelsMetrics>,
    ) -> Option<(Self, ForwardJobs)> {
        if settings.send.is_empty() {
            return None;
        }
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let budget = Arc::new(ByteBudget::new(MAX_BYTES));
        let jobs = ForwardJobs { jobs: receiver, budget: Arc::clone(&budget) };
        let drops =
            Arc::new(DropCounter { metrics: Arc::clone(metrics), log: LogLimit::default() });
        let groups = settings.send.as_slice().into();
        Some((Self { jobs: sender, budget, groups, drops }, jobs))
    }

    /// Queues an event that the layer has accepted for `group`. Never waits.
    pub fn offer(&self, group: &GroupName, event: &Event) {
        if !self.groups.iter().any(|pattern| pattern.matches(group.as_str())) {
            return;
        }
        if !is_for_handlers(event.kind()) {
            let why = format!("type {:?} names no handler of a project", event.kind());
            return self.drops.add(DjangoDrop::Type, 1, group, &why);
        }
        let bytes = event.json().len();
        let job = || ForwardJob::Send(group.clone(), event.clone());
        if self.budget.try_take(bytes) {
            if self.jobs.try_send(job()).is_ok() {
                return;
            }
            self.budget.give_back(bytes);
        }
        self.drops.add(DjangoDrop::Queue, 1, group, "queue full");
    }

    /// Waits until all queued jobs are done, at most `limit`.
    pub async fn flush(&self, limit: Duration) {
        let (done, flushed) = oneshot::channel();
        let flush = async {
            if self.jobs.send(ForwardJob::Flush(done)).await.is_ok() {
                // An error means that the forwarder has ended: nothing more is sent.
                let _ = flushed.await;
            }
        };
        if timeout(limit, flush).await.is_err() {
            tracing::warn!(?limit, "events may not have reached Django's consumers in time");
        }
    }

    pub(super) fn drops(&self) -> Arc<DropCounter> {
        Arc::clone(&self.drops)
    }
}

impl ForwardJobs {
    /// Waits for jobs and takes up to `most`; none = there will be no more.
    pub(super) async fn take(&mut self, most: usize) -> Vec<ForwardJob> {
        let mut taken = Vec::with_capacity(most);
        self.jobs.recv_many(&mut taken, most).await;
        let bytes = taken.iter().map(|job| match job {
            ForwardJob::Send(_, event) => event.json().len(),
            ForwardJob::Flush(_) => 0,
        });
        self.budget.give_back(bytes.sum());
        taken
    }
}

impl fmt::Debug for ForwardQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardQueue").field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl DropCounter {
    /// Counts `count` messages for `group` that are not sent, and logs one a second.
    pub(super) fn add(&self, reason: DjangoDrop, count: u64, group: &GroupName, why: &str) {
        self.metrics.django_dropped.of(reason).increment(count);
        if self.log.allows() {
            tracing::warn!(%group, why, "event not forwarded to Django's consumers");
        }
    }

    pub(super) fn sent(&self, count: u64) {
        self.metrics.django_sent.increment(count);
    }
}

/// Whether a consumer calls a handler of its project for this `type`. It refuses a leading
/// underscore, once dots have become underscores, by ending all connections of the group.
fn is_for_handlers(kind: &str) -> bool {
    let handler = kind.replace('.', "_");
    !handler.starts_with('_') && !METHODS.contains(&handler.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn never_waits_and_counts_events_that_find_no_room() {
        let metrics = Metrics::new();
        let counted = Arc::new(ChannelsMetrics::new(&metrics));
        let everything = GroupPattern::parse("sala_*").unwrap();
        let settings = ChannelSettings { send: vec![everything], ..ChannelSettings::default() };
        let (queue, mut jobs) = ForwardQueue::open(&settings, &counted).unwrap();
        let [group, other] = ["sala_1", "pedido.1"].map(|name| GroupName::parse(name).unwrap());
        let event = Event::parse("{\"type\":\"aviso\"}".into()).unwrap();
        for _ in 0..CAPACITY + 3 {
            queue.offer(&group, &event);
            queue.offer(&other, &event);
        }
        let dropped = |count: u64| {
            let counted = format!("groupcast_django_dropped_total{{reason=\"queue\"}} {count}\n");
            assert!(metrics.render().contains(&counted), "{}", metrics.render());
        };
        dropped(3);
        assert_eq!(jobs.take(2 * CAPACITY).await.len(), CAPACITY);
        let large = format!("{{\"type\":\"aviso\",\"x\":\"{}\"}}", "x".repeat(MAX_BYTES / 5));
        let large = Event::parse(large.into()).unwrap();
        for _ in 0..5 {
            queue.offer(&group, &large);
        }
        dropped(4);
        assert_eq!(jobs.take(8).await.len(), 4);
        queue.offer(&group, &large);
        dropped(4);
        drop(jobs);
        queue.flush(Duration::MAX).await;
    }

    #[test]
    fn forwards_only_types_that_name_a_handler_of_the_project() {
        for kind in ["imagen_procesada", "chat.message", "notificacion", "send_notice", "closed"] {
            assert!(is_for_handlers(kind), "{kind}");
        }
        for kind in ["_private", ".private", "websocket.disconnect", "close", "send", "send.json"] {
            assert!(!is_for_handlers(kind), "{kind}");
        }
    }
}
