//! The way to consumers that Django still has, for what enters by the gateway's own door.
//!
//! A queue and a task, so that whoever publishes never waits for Django's side: what finds no room is
//! dropped, counted and logged. What came from channels is never offered here.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Channels;
use crate::event::Event;
use crate::group::{GroupName, GroupPattern};
use crate::telemetry::{BridgeMetrics, DjangoDrop};

/// Events that may wait: with the largest ones 64 MiB, usually a few hundred KiB.
const WAITING: usize = 1024;

/// Between two log lines about what was not sent.
const LOG_EVERY: Duration = Duration::from_secs(1);

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
    queue: mpsc::Sender<Errand>,
    groups: Arc<[GroupPattern]>,
    losses: Arc<Losses>,
}

/// What the task is asked to do, in this order.
pub(super) enum Errand {
    /// Send to a group.
    Send(GroupName, Event),
    /// Tell that everything before has been dealt with.
    Tell(oneshot::Sender<()>),
}

/// Accounts for what is not sent.
pub(super) struct Losses {
    metrics: Arc<BridgeMetrics>,
    logged: Mutex<Option<Instant>>,
}

impl Consumers {
    /// The way in, and what comes out of it; `None` if nothing is to be sent.
    pub(super) fn open(
        channels: &Channels,
        metrics: &Arc<BridgeMetrics>,
    ) -> Option<(Self, mpsc::Receiver<Errand>)> {
        if channels.send.is_empty() {
            return None;
        }
        let (queue, errands) = mpsc::channel(WAITING);
        let losses = Arc::new(Losses { metrics: Arc::clone(metrics), logged: Mutex::default() });
        Some((Self { queue, groups: channels.send.as_slice().into(), losses }, errands))
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
        if self.queue.try_send(Errand::Send(group.clone(), event.clone())).is_err() {
            self.losses.note(DjangoDrop::Queue, 1, group, "too many events wait already");
        }
    }

    /// Waits until everything offered so far has been dealt with, but not longer than `patience`.
    pub async fn settled(&self, patience: Duration) {
        let (tell, told) = oneshot::channel();
        let settle = async {
            if self.queue.send(Errand::Tell(tell)).await.is_ok() {
                // An error is the task's end: nothing more is sent.
                let _ = told.await;
            }
        };
        if timeout(patience, settle).await.is_err() {
            tracing::warn!(?patience, "events may not have been sent to Django's consumers in time");
        }
    }

    pub(super) fn losses(&self) -> Arc<Losses> {
        Arc::clone(&self.losses)
    }
}

impl fmt::Debug for Consumers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumers").field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl Losses {
    /// Counts `count` messages for `group` that are not sent, and says so, not too often.
    pub(super) fn note(&self, reason: DjangoDrop, count: u64, group: &GroupName, why: &str) {
        self.metrics.django_dropped.of(reason).increment(count);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *logged = Some(Instant::now());
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
