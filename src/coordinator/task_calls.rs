//! Calls of browsers for tasks of Celery: a queue of their own, so that neither a slow broker nor a
//! slow back end delays the calls of the other.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use super::call_refusals::CallRefusals;
use crate::backend::CallError;
use crate::celery::{StartError, TaskRequest, TaskStarter};
use crate::event::{Control, Member};
use crate::fair_queue::FairQueue;
use crate::hub::{Answer, Call, CallFailure, Hub, RequestKind};
use crate::protocol::Code;

/// Calls that may wait; one more refuses the newest of the user with most of them.
const WAITING: usize = 4096;

/// Calls at the broker at once: at a millisecond each, tens of thousands a second.
const PARALLEL: usize = 128;

/// Calls that wait for Celery's broker, of each user in turn.
pub(super) struct TaskCalls {
    starter: Option<TaskStarter>,
    refusals: CallRefusals,
    waiting: FairQueue<Arc<str>, Call>,
    in_flight: JoinSet<()>,
}

impl TaskCalls {
    pub(super) fn new(starter: Option<TaskStarter>, refusals: CallRefusals) -> Self {
        Self { starter, refusals, waiting: FairQueue::new(WAITING), in_flight: JoinSet::new() }
    }

    /// Whether a call is for a task.
    pub(super) fn takes(&self, call: &Call) -> bool {
        self.starter.as_ref().is_some_and(|starter| starter.takes(&call.name))
    }

    pub(super) async fn enqueue(&mut self, call: Call) {
        let user = Arc::clone(&call.identity.sub);
        if let Some(surplus) = self.waiting.push(user, call) {
            let message = "too many calls are waiting";
            let busy = CallError::new(Code::Unavailable, message, CallFailure::Busy, None);
            self.refusals.refuse(&surplus, busy).await;
        }
    }

    /// Waits until a call is answered; for ever while there is none.
    pub(super) async fn join_next(&mut self) -> Result<(), JoinError> {
        match self.in_flight.join_next().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    pub(super) fn begin(&mut self) {
        let Some(starter) = &self.starter else { return };
        while self.in_flight.len() < PARALLEL
            && let Some(call) = self.waiting.pop()
        {
            let (starter, refusals) = (starter.clone(), self.refusals.clone());
            self.in_flight.spawn(async move { answer(&starter, &refusals, &call).await });
        }
    }
}

async fn answer(starter: &TaskStarter, refusals: &CallRefusals, call: &Call) {
    let request = TaskRequest {
        call: &call.name,
        data: call.data.as_deref(),
        is_plain: call.reply.is_plain(),
        sub: &call.identity.sub,
        key: call.key.as_deref(),
    };
    match starter.call(&request).await {
        Ok(task) => {
            let result = serde_json::json!({"task": task.id});
            let result = serde_json::value::to_raw_value(&result).ok();
            let frame = call.reply.result(result.as_deref());
            let answer = Answer { to: call.to, kind: RequestKind::Call, frame };
            carry_out(
                &refusals.hub,
                call,
                task.group.map(|group| Control::Join(Member::Connection(call.to), group)),
                answer,
            )
            .await;
        }
        Err(error) => refusals.refuse(call, refusal(&error)).await,
    }
}

/// The caller watches its task before it is told the id.
async fn carry_out(hub: &Hub, call: &Call, join: Option<Control>, answer: Answer) {
    match join {
        Some(join) => {
            hub.control(join, None).await;
            hub.answer_in_order(call.shard, answer).await;
        }
        None => hub.answer(call.shard, answer).await,
    }
}

fn refusal(error: &StartError) -> CallError {
    let (code, failure) = match error {
        StartError::Shape(_) => (Code::BadRequest, CallFailure::Refused),
        StartError::NotYours(_) => (Code::NotFound, CallFailure::Refused),
        StartError::Limited(_) => (Code::Limited, CallFailure::Limited),
        StartError::OtherArguments => (Code::DuplicateKey, CallFailure::Refused),
        StartError::Starting => (Code::Unavailable, CallFailure::Busy),
        StartError::Away(words) => {
            let message = "the task queue cannot be reached";
            let cause = Some(words.clone());
            return CallError::new(Code::Unavailable, message, CallFailure::Unreachable, cause);
        }
    };
    CallError::new(code, error.to_string(), failure, None)
}
