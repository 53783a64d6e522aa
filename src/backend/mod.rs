//! The back end as a server that is asked: who somebody is (the connect hook), what a call comes to.
//!
//! Every request is signed, bounded in time and size, and never redirected. `docs/backend.md` is the
//! contract.

mod advice;
mod calls;
mod client;
mod hook;
mod settings;
mod sign;
#[cfg(test)]
mod tests;

pub use calls::{CallError, Calls, Question, Reply};
pub use client::{Answer, AskError, Client};
pub use hook::{Accepted, Hook, HookRequest, HookVerdict, ask_hook_once};
pub use settings::{BackendError, MIN_SECRET_LEN, Settings, SigningKey};

use std::sync::Arc;

use hyper::header::HeaderName;

use crate::identity::Verifier;
use crate::layer::Layer;
use crate::telemetry::Metrics;

/// Header with the path that the browser connected to.
const PATH: HeaderName = HeaderName::from_static("groupcast-path");

/// What the back end can be asked; either may be missing. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct BackEnd {
    /// Who somebody is.
    pub hook: Option<Hook>,
    /// What a call comes to.
    pub calls: Option<Arc<Calls>>,
}

impl BackEnd {
    /// The back end as configured; instances over one Redis share what its hook says.
    pub fn new(
        settings: &Settings,
        verifier: &Arc<Verifier>,
        layer: &Layer,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, BackendError> {
        let redis = match layer {
            Layer::Redis(redis) => Some(redis.clone()),
            Layer::Memory(_) => None,
        };
        Ok(Self {
            hook: Hook::new(settings, Arc::clone(verifier), redis, Arc::clone(metrics))?,
            calls: Calls::new(settings)?.map(Arc::new),
        })
    }
}
