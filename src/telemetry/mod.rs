//! Metrics and logs.
//!
//! Metrics are handles, created once and passed to the rooms. The global recorder is unused:
//! several gateways may run in one process, and a look-up per delivery would cost more than the
//! delivery.

mod backend;
mod channels;
mod family;
mod histogram;
mod labels;
mod log;
mod log_limit;
mod metrics;
mod registry;
mod requests;
#[cfg(test)]
mod tests;

pub use ::metrics::Counter;
pub use backend::BackendMetrics;
pub use channels::ChannelsMetrics;
pub(crate) use family::GaugeGuard;
pub use family::{Counters, Gauges, Label};
pub use histogram::Histogram;
pub use labels::{
    AuthFailure, BackendOutcome, CallFailure, DjangoDrop, DropReason, EntryFate, HookSource,
    Protocol, RefusalReason,
};
pub use log::{LogError, LogFormat, LogGuard, LogSettings};
pub(crate) use log_limit::LogLimit;
pub use metrics::{LayerMetrics, Metrics, ShardMetrics};
