//! Starts the console and its tasks.

use std::sync::Arc;

use super::tasks::Tasks;
use crate::console::{self, Console};
use crate::hub::Hub;
use crate::layer::Layer;
use crate::telemetry::{Journal, Metrics};

/// The console of this instance. Its tasks rest while nobody looks.
pub(super) fn start_console(
    hub: &Hub,
    layer: &Layer,
    metrics: &Arc<Metrics>,
    journal: &Arc<Journal>,
    tasks: &mut Tasks,
) -> Console {
    let (metrics, journal) = (Arc::clone(metrics), Arc::clone(journal));
    let (console, its) = console::start(hub.clone(), layer.clone(), metrics, journal);
    tasks.spawn("console samples", its.sampling);
    tasks.spawn("console answers", its.answering);
    tasks.spawn("console overviews", its.sharing);
    console
}
