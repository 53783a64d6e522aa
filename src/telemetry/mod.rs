//! Metrics and logs.
//!
//! Metrics are handles, created once and passed to the rooms. The global recorder is unused:
//! several gateways may run in one process, and a look-up per delivery would cost more than the
//! delivery.

mod family;
mod histogram;
mod journal;
mod log;
mod log_limit;
mod log_ring;
mod metrics;
mod registry;
mod requests;
#[cfg(test)]
mod tests;

pub(crate) use ::metrics::{Counter, Gauge};
pub(crate) use family::{Counters, Gauges, Histograms, Label};
pub(crate) use family::{GaugeGuard, label};
pub(crate) use journal::{Journal, NotedRefusal};
pub(crate) use log::{LogFormat, LogSettings};
pub(crate) use log_limit::LogLimit;
pub(crate) use log_ring::{LogLine, recent_lines};
pub(crate) use metrics::{Metrics, ShardMetrics};
