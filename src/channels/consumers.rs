//! The way to consumers that Django still has, for what enters by the gateway's own door.
//!
//! A queue and a task, so that whoever publishes never waits for Django's side: what finds no room is
//! dropped, counted and logged. What came from channels is never offered here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Channels;
use crate::byte_budget::ByteBudget;
use crate::event::Event;
use crate::group::{GroupName, GroupPattern};
use crate::telemetry::{ChannelsMetrics, DjangoDrop, LogLimit};

/// Events that may wait: a few of the largest batches that the API takes at once.
const WAITING: usize = 8192;

/// Bytes of JSON that may wait in them.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What Channels' own consumer classes can do (channels 4.3). A message whose `type` is one of these
/// names calls it, whoever sent the message; no project means that.
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

/// Where accepted events are handed in. Clones share it.
#[derive(Clone)]
pub struct Consumers {
    queue: mpsc::Sender<ForwardJob>,
    /// Bytes that wait.
    budget: Arc<ByteBudget>,
    groups: Arc<[GroupPattern]>,
    losses: Arc<DropCounter>,
}

/// What the task is asked to do, in this order.
pub(super) enum ForwardJob {
    /// Send to a group.
    Send(GroupName, Event),
    /// Tell that everything before has been dealt with.
    Tell(oneshot::Sender<()>),
}

/// What the task is asked to do.
pub(super) struct ForwardQueue {
    queue: mpsc::Receiver<ForwardJob>,
    budget: Arc<ByteBudget>,
}

/// Accounts for what is not sent.
pub(super) struct DropCounter {
    metrics: Arc<ChannelsMetrics>,
    log: LogLimit,
}

impl Consumers {
    /// The way in, and what comes out of it; `None` if nothing is to be sent.
    pub(super) fn open(
        channels: &Channels,
        metrics: &Arc<ChannelsMetrics>,
    ) -> Option<(Self, ForwardQueue)> {
        if channels.send.is_empty() {
            return None;
        }
        let (queue, jobs) = mpsc::channel(WAITING);
        let budget = Arc::new(ByteBudget::new(MAX_BYTES));
        let jobs = ForwardQueue { queue: jobs, budget: Arc::clone(&budget) };
        let losses =
            Arc::new(DropCounter { metrics: Arc::clone(metrics), log: LogLimit::default() });
        let groups = channels.send.as_slice().into();
        Some((Self { queue, budget, groups, losses }, jobs))
    }

    /// Has an event sent that the layer has accepted for `group`. Never waits.
    pub fn offer(&self, group: &GroupName, event: &Event) {
        if !self.groups.iter().any(|pattern| pattern.matches(group.as_str())) {
            return;
        }
        if !is_for_handlers(event.kind()) {
            let why = format!("type {:?} names no handler of a project", event.kind());
            return self.losses.note(DjangoDrop::Type, 1, group, &why);
        }
        let bytes = event.json().len();
        let job = || ForwardJob::Send(group.clone(), event.clone());
        if self.budget.try_take(bytes) {
            if self.queue.try_send(job()).is_ok() {
                return;
            }
            self.budget.give_back(bytes);
        }
        self.losses.note(DjangoDrop::Queue, 1, group, "too many events wait already");
    }

    /// Waits until everything offered so far has been dealt with, but not longer than `patience`.
    pub async fn settled(&self, patience: Duration) {
        let (tell, told) = oneshot::channel();
        let settle = async {
            if self.queue.send(ForwardJob::Tell(tell)).await.is_ok() {
                // An error is the task's end: nothing more is sent.
                let _ = told.await;
            }
        };
        if timeout(patience, settle).await.is_err() {
            tracing::warn!(
                ?patience,
                "events may not have been sent to Django's consumers in time"
            );
        }
    }

    pub(super) fn losses(&self) -> Arc<DropCounter> {
        Arc::clone(&self.losses)
    }
}

impl ForwardQueue {
    /// Waits for the next ones and takes up to `most` of them; none = there will be none.
    pub(super) async fn take(&mut self, most: usize) -> Vec<ForwardJob> {
        let mut taken = Vec::with_capacity(most);
        self.queue.recv_many(&mut taken, most).await;
        let bytes = taken.iter().map(|job| match job {
            ForwardJob::Send(_, event) => event.json().len(),
            ForwardJob::Tell(_) => 0,
        });
        self.budget.give_back(bytes.sum());
        taken
    }
}

impl fmt::Debug for Consumers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumers").field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl DropCounter {
    /// Counts `count` messages for `group` that are not sent, and says so, not too often.
    pub(super) fn note(&self, reason: DjangoDrop, count: u64, group: &GroupName, why: &str) {
        self.metrics.django_dropped.of(reason).increment(count);
        if self.log.allows() {
            tracing::warn!(%group, why, "an event was not sent to Django's consumers");
        }
    }

    pub(super) fn sent(&self, count: u64) {
        self.metrics.django_sent.increment(count);
    }
}

/// Whether a consumer calls a handler of its project's for this `type`. It refuses a leading underscore,
/// of dots made, by ending all connections of the group.
fn is_for_handlers(kind: &str) -> bool {
    let handler = kind.replace('.', "_");
    !handler.starts_with('_') && !METHODS.contains(&handler.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn whoever_offers_never_waits_and_what_finds_no_room_is_counted() {
        let metrics = Metrics::new();
        let everything = GroupPattern::parse("sala_*").unwrap();
        let channels = Channels { send: vec![everything], ..Channels::default() };
        let (consumers, mut jobs) = Consumers::open(&channels, &metrics.channels).unwrap();
        let [group, other] = ["sala_1", "pedido.1"].map(|name| GroupName::parse(name).unwrap());
        let event = Event::parse("{\"type\":\"aviso\"}".into()).unwrap();
        for _ in 0..WAITING + 3 {
            consumers.offer(&group, &event);
            consumers.offer(&other, &event);
        }
        let dropped = |count: u64| {
            let counted = format!("groupcast_django_dropped_total{{reason=\"queue\"}} {count}\n");
            assert!(metrics.render().contains(&counted), "{}", metrics.render());
        };
        dropped(3);
        assert_eq!(jobs.take(2 * WAITING).await.len(), WAITING);
        let large = format!("{{\"type\":\"aviso\",\"x\":\"{}\"}}", "x".repeat(MAX_BYTES / 5));
        let large = Event::parse(large.into()).unwrap();
        for _ in 0..5 {
            consumers.offer(&group, &large);
        }
        dropped(4);
        assert_eq!(jobs.take(8).await.len(), 4);
        consumers.offer(&group, &large);
        dropped(4);
        drop(jobs);
        consumers.settled(Duration::MAX).await;
    }

    #[test]
    fn only_what_names_a_handler_of_the_project_is_sent() {
        for kind in ["imagen_procesada", "chat.message", "notificacion", "send_notice", "closed"] {
            assert!(is_for_handlers(kind), "{kind}");
        }
        for kind in ["_private", ".private", "websocket.disconnect", "close", "send", "send.json"] {
            assert!(!is_for_handlers(kind), "{kind}");
        }
    }
}
