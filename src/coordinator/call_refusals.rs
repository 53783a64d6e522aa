//! Answers the calls that fail.

use std::sync::Arc;

use crate::backend::{BackendMetrics, CallError};
use crate::excerpt::excerpt;
use crate::hub::{Answer, Call, CallFailure, Hub, RequestKind};
use crate::telemetry::{Counters, Metrics};

/// Longest name of a call that is logged, characters.
const EXCERPT: usize = 100;

/// Clones share everything.
#[derive(Clone)]
pub(super) struct CallRefusals {
    pub(super) hub: Hub,
    pub(super) metrics: Arc<CallMetrics>,
}

/// The handles of calls.
pub(super) struct CallMetrics {
    pub(super) backend: BackendMetrics,
    failed: Counters<CallFailure>,
}

impl CallRefusals {
    pub(super) fn new(hub: Hub, metrics: &Metrics) -> Self {
        let metrics = CallMetrics {
            backend: BackendMetrics::new(metrics),
            failed: CallFailure::counters(metrics),
        };
        Self { hub, metrics: Arc::new(metrics) }
    }

    pub(super) async fn refuse(&self, call: &Call, error: CallError) {
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
