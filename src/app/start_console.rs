//! Starts the console and its tasks.

use std::sync::Arc;

use super::tasks::Tasks;
use crate::console::{self, Console};
use crate::hub::Hub;
use crate::layer::Layer;
use crate::sources::AmqpSettings;
use crate::telemetry::{Journal, Metrics};

/// The console of this instance. Its tasks rest while nobody looks.
pub(super) fn start_console(
    hub: &Hub,
    layer: &Layer,
    metrics: &Arc<Metrics>,
    journal: &Arc<Journal>,
    amqp: Option<&AmqpSettings>,
    tasks: &mut Tasks,
) -> Console {
    let (metrics, journal) = (Arc::clone(metrics), Arc::clone(journal));
    let amqp = amqp.cloned().map(Arc::new);
    let (console, its) = console::start(hub.clone(), layer.clone(), metrics, journal, amqp);
    tasks.spawn("console samples", its.sampling);
    tasks.spawn("console answers", its.answering);
    tasks.spawn("console overviews", its.sharing);
    console
}
