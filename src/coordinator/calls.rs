//! Calls to the back end, within bounds: a slow back end does not delay anything else, nor one
//! user's many calls those of another.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::call_refusals::CallRefusals;
use super::task_calls::TaskCalls;
use crate::backend::{self, BackendOutcome, CallError, CallReply, CallRequest};
use crate::celery::TaskStarter;
use crate::channels::MailboxNames;
use crate::event::{Control, Member};
use crate::fair_queue::FairQueue;
use crate::hub::{Answer, Call, CallFailure, RequestKind};
use crate::protocol::Code;
use crate::telemetry::GaugeGuard;

/// Calls that may wait. One more refuses the newest of the user with most of them. At 32 in
/// parallel and 50 ms each, the last of them waits for a second and a half.
const WAITING: usize = 1024;

/// Calls that wait for the back end, of each user in turn. The order of a plain connection's calls
/// is kept by the hub, which sends the next call when the last is answered.
pub(super) struct CallQueue {
    poster: Option<CallPoster>,
    /// Those that are not for the back end.
    tasks: TaskCalls,
    refusals: CallRefusals,
    parallel: usize,
    waiting: FairQueue<Arc<str>, WaitingCall>,
    in_flight: JoinSet<()>,
}

/// Posts calls and answers them. Clones share everything.
#[derive(Clone)]
struct CallPoster {
    backend: Arc<backend::Calls>,
    /// Gives connections their channel names for Django, if its channel layer is received.
    mailboxes: Option<MailboxNames>,
    refusals: CallRefusals,
}

/// A call that is counted as waiting.
struct WaitingCall {
    call: Call,
    _counted: GaugeGuard,
}

impl CallQueue {
    pub(super) fn new(
        backend: Option<Arc<backend::Calls>>,
        mailboxes: Option<MailboxNames>,
        tasks: Option<TaskStarter>,
        refusals: CallRefusals,
    ) -> Self {
        let tasks = TaskCalls::new(tasks, refusals.clone());
        let parallel = backend.as_ref().map_or(1, |backend| backend.parallel());
        let poster = backend.map(|backend| {
            let refusals = refusals.clone();
            CallPoster { backend, mailboxes, refusals }
        });
        let waiting = FairQueue::new(WAITING);
        Self { poster, tasks, refusals, parallel, waiting, in_flight: JoinSet::new() }
    }

    /// Serves until the hub ends.
    pub(super) async fn serve(&mut self, mut calls: mpsc::Receiver<Box<Call>>) {
        loop {
            tokio::select! {
                call = calls.recv() => match call {
                    Some(call) if self.tasks.takes(&call) => self.tasks.enqueue(*call).await,
                    Some(call) => self.enqueue(*call).await,
                    None => return,
                },
                ended = self.tasks.join_next() => check(ended),
                Some(ended) = self.in_flight.join_next() => check(ended),
            }
            self.begin();
            self.tasks.begin();
        }
    }

    /// Enqueues a call. Refuses one immediately if that is too many: the coordinator never waits
    /// for the back end.
    async fn enqueue(&mut self, call: Call) {
        if self.poster.is_none() {
            let message = "no back end is configured for calls";
            let none = CallError::new(Code::NoBackend, message, CallFailure::NoBackend, None);
            return self.refusals.refuse(&call, none).await;
        }
        let counted = GaugeGuard::new(&self.refusals.metrics.backend.calls_waiting);
        let user = Arc::clone(&call.identity.sub);
        if let Some(surplus) = self.waiting.push(user, WaitingCall { call, _counted: counted }) {
            let message = "too many calls are waiting";
            let busy = CallError::new(Code::Unavailable, message, CallFailure::Busy, None);
            self.refusals.refuse(&surplus.call, busy).await;
        }
    }

    fn begin(&mut self) {
        let Some(poster) = &self.poster else { return };
        while self.in_flight.len() < self.parallel
            && let Some(WaitingCall { call, .. }) = self.waiting.pop()
        {
            let poster = poster.clone();
            self.in_flight.spawn(async move { poster.ask(&call).await });
        }
    }
}

/// A call that panicked ends the coordinator, and with it the process.
fn check(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        resume_unwind(panic);
    }
}

impl CallPoster {
    async fn ask(&self, call: &Call) {
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
        let metrics = &self.refusals.metrics.backend;
        let in_flight = GaugeGuard::new(&metrics.calls_in_flight);
        let outcome = self.backend.post(&request).await;
        drop(in_flight);
        let counted =
            outcome.as_ref().map_or_else(CallError::outcome, |_| BackendOutcome::Accepted);
        metrics.called(counted, began.elapsed());
        match outcome {
            Ok(reply) => self.carry_out(call, reply).await,
            Err(error) => self.refusals.refuse(call, error).await,
        }
    }

    /// Applies memberships first, so that they precede the result; then the result, then a close.
    async fn carry_out(&self, call: &Call, reply: CallReply) {
        let member = || Member::Connection(call.to);
        let CallReply { result, join, leave, close } = reply;
        let hub = &self.refusals.hub;
        let changes_nothing = join.is_empty() && leave.is_empty() && close.is_none();
        for group in leave {
            hub.control(Control::Leave(member(), group), None).await;
        }
        for group in join {
            hub.control(Control::Join(member(), group), None).await;
        }
        let frame = call.reply.result(result.as_deref());
        let answer = Answer { to: call.to, kind: RequestKind::Call, frame };
        match changes_nothing {
            true => hub.answer(call.shard, answer).await,
            false => hub.answer_in_order(call.shard, answer).await,
        }
        if let Some(code) = close {
            hub.control(Control::Close(member(), code), None).await;
        }
    }
}
