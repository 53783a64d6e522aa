//! Requests to the site: the connect hook, which authenticates visitors, and calls from browsers.
//!
//! Every request is signed, bounded in time and size, and never redirected. `docs/backend.md` is
//! the contract.

mod advice;
mod calls;
mod check;
mod client;
mod hook;
mod metrics;
mod path_header;
mod settings;
mod sign;
#[cfg(test)]
mod tests;

pub use calls::{CallError, CallReply, CallRequest, Calls};
pub use client::{BackendResponse, Client, RequestError};
pub use hook::{Hook, HookAcceptance, HookRequest, HookVerdict, ask_hook_once};
pub use metrics::{BackendMetrics, BackendOutcome};
pub use settings::{BackendError, MIN_SECRET_LEN, Settings, SigningKey};

use std::sync::Arc;

use crate::identity::Verifier;
use crate::layer::Layer;
use crate::telemetry::Metrics;

/// Hook and calls; either may be missing. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct BackEnd {
    /// Authenticates visitors.
    pub hook: Option<Hook>,
    /// Posts calls.
    pub calls: Option<Arc<Calls>>,
}

impl BackEnd {
    /// The back end as configured; instances over one Redis share the hook's verdicts.
    pub fn new(
        settings: &Settings,
        verifier: &Arc<Verifier>,
        layer: &Layer,
        metrics: &Metrics,
    ) -> Result<Self, BackendError> {
        let redis = match layer {
            Layer::Redis(redis) => Some(redis.clone()),
            Layer::Memory(_) => None,
        };
        Ok(Self {
            hook: Hook::new(settings, Arc::clone(verifier), redis, metrics)?,
            calls: Calls::new(settings)?.map(Arc::new),
        })
    }
}
