//! What operators see: snapshots, lists and reasons of all instances. Costs nothing while nobody
//! looks.
//!
//! Knows no HTTP: the API serves what it tells. The numbers are those of the metrics, so the two
//! never disagree.

mod evidence;
mod handle;
mod lists;
mod logs;
mod metric_values;
mod peers;
mod reason;
mod sampler;
mod sentences;
mod servers;
mod snapshot;
mod sources;
mod start;
mod tap;
mod tap_reading;
mod watching;
mod why;

pub(crate) use handle::Console;
pub(crate) use snapshot::Overview;
pub(crate) use start::start;
pub(crate) use watching::Watcher;
pub(crate) use why::WhyQuestion;
