//! Calls to the back end, within bounds: a slow back end does not delay anything else.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc};

use crate::backend::{self, BackendMetrics, BackendOutcome, CallError, CallReply, CallRequest};
use crate::channels::MailboxNames;
use crate::event::{Control, Member};
use crate::excerpt::excerpt;
use crate::hub::{Answer, Call, CallFailure, Hub, RequestKind};
use crate::protocol::Code;
use crate::telemetry::{Counters, GaugeGuard, Metrics};

/// Calls that may wait; more are refused. At 32 in parallel and 50 ms each, the last of them waits
/// for a second and a half.
const WAITING: usize = 1024;

/// Longest name of a call that is logged, characters.
const EXCERPT: usize = 100;

/// Calls that wait for the back end. The order of a plain connection's calls is kept by the hub,
/// which sends the next call when the last is answered.
#[derive(Clone)]
pub(super) struct CallQueue {
    backend: Option<Arc<backend::Calls>>,
    /// Gives connections their channel names for Django, if its channel layer is received.
    mailboxes: Option<MailboxNames>,
    hub: Hub,
    metrics: Arc<CallMetrics>,
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// The handles of a queue.
struct CallMetrics {
    backend: BackendMetrics,
    failed: Counters<CallFailure>,
}

impl CallQueue {
    pub(super) fn new(
        backend: Option<Arc<backend::Calls>>,
        mailboxes: Option<MailboxNames>,
        hub: Hub,
        metrics: &Metrics,
    ) -> Self {
        let metrics = CallMetrics {
            backend: BackendMetrics::new(metrics),
            failed: CallFailure::counters(metrics),
        };
        let metrics = Arc::new(metrics);
        let parallel = backend.as_ref().map_or(1, |backend| backend.parallel());
        let turns = Arc::new(Semaphore::new(parallel));
        Self { backend, mailboxes, hub, metrics, turns, waiting: Arc::new(Semaphore::new(WAITING)) }
    }

    /// Serves until the hub ends.
    pub(super) async fn serve(&self, mut calls: mpsc::Receiver<Box<Call>>) {
        while let Some(call) = calls.recv().await {
            self.enqueue(*call).await;
        }
    }

    /// Enqueues a call or refuses it immediately: the coordinator never waits for the back end.
    async fn enqueue(&self, call: Call) {
        let Some(backend) = &self.backend else {
            let message = "no back end is configured for calls";
            let none = CallError::new(Code::NoBackend, message, CallFailure::NoBackend, None);
            return self.refuse(&call, none).await;
        };
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else {
            let message = "too many calls are waiting";
            let busy = CallError::new(Code::Unavailable, message, CallFailure::Busy, None);
            return self.refuse(&call, busy).await;
        };
        let (queue, backend) = (self.clone(), Arc::clone(backend));
        let waiting = GaugeGuard::new(&self.metrics.backend.calls_waiting);
        tokio::spawn(async move {
            let turn = queue.turns.acquire().await;
            drop(waiting);
            drop(place);
            queue.ask(&backend, &call).await;
            drop(turn);
        });
    }

    async fn ask(&self, backend: &backend::Calls, call: &Call) {
        let channel = self.mailboxes.as_ref().map(|mailboxes| mailboxes.channel(call.to));
        let request = CallRequest {
            name: &call.name,
            data: call.data.as_deref(),
            connection: call.to,
            channel: channel.as_deref(),
            identity: &call.identity,
            path: &call.path,
            key: call.key.as_deref(),
        };
        let began = Instant::now();
        let in_flight = GaugeGuard::new(&self.metrics.backend.calls_in_flight);
        let outcome = backend.post(&request).await;
        drop(in_flight);
        let counted =
            outcome.as_ref().map_or_else(CallError::outcome, |_| BackendOutcome::Accepted);
        self.metrics.backend.called(counted, began.elapsed());
        match outcome {
            Ok(reply) => self.carry_out(call, reply).await,
            Err(error) => self.refuse(call, error).await,
        }
    }

    /// Applies memberships first, so that they precede the result; then the result, then a close.
    async fn carry_out(&self, call: &Call, reply: CallReply) {
        let member = || Member::Connection(call.to);
        let CallReply { result, join, leave, close } = reply;
        let changes_nothing = join.is_empty() && leave.is_empty() && close.is_none();
        for group in leave {
            self.hub.control(Control::Leave(member(), group)).await;
        }
        for group in join {
            self.hub.control(Control::Join(member(), group)).await;
        }
        let frame = call.reply.result(result.as_deref());
        let answer = Answer { to: call.to, kind: RequestKind::Call, frame };
        match changes_nothing {
            true => self.hub.answer(call.shard, answer).await,
            false => self.hub.answer_in_order(call.shard, answer).await,
        }
        if let Some(code) = close {
            self.hub.control(Control::Close(member(), code)).await;
        }
    }

    async fn refuse(&self, call: &Call, error: CallError) {
        self.metrics.failed.of(error.failure).increment(1);
        let name = excerpt(&call.name, EXCERPT);
        match &error.cause {
            Some(cause) => {
                tracing::warn!(connection = %call.to, call = name, cause, "call failed");
            }
            None => {
                let code = &error.code;
                tracing::debug!(connection = %call.to, call = name, %code, "call refused");
            }
        }
        let frame = call.reply.error(&error.code, &error.message, error.retry);
        let answer = Answer { to: call.to, kind: RequestKind::Call, frame };
        self.hub.answer(call.shard, answer).await;
    }
}
