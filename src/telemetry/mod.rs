//! Metrics and logs.
//!
//! Metrics are handles, created once and passed to the rooms. The global recorder is unused:
//! several gateways may run in one process, and a look-up per delivery would cost more than the
//! delivery.

mod family;
mod histogram;
mod log;
mod log_limit;
mod metrics;
mod registry;
mod requests;
#[cfg(test)]
mod tests;

pub use ::metrics::{Counter, Gauge};
pub use family::{Counters, Gauges, Histograms, Label};
pub(crate) use family::{GaugeGuard, label};
pub use histogram::Histogram;
pub use log::{LogError, LogFormat, LogGuard, LogSettings};
pub(crate) use log_limit::LogLimit;
pub use metrics::{LayerMetrics, Metrics, ShardMetrics};
pub use registry::MetricRegistry;
