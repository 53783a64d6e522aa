//! Starts Django's channel layer and the sources, which are on Redis and on RabbitMQ.

use std::sync::Arc;

use crate::channels::{ChannelsMetrics, DjangoLayer, ForwardQueue};
use crate::config::Config;
use crate::layer::{Layer, LayerError};
use crate::sources::{AmqpSource, SourceConnection, SourceMetrics, Sources};
use crate::supervisor::Supervisor;
use crate::telemetry::Metrics;

/// Django's channel layer and the sources, if the layer is Redis and there is anything to receive.
pub(super) fn start_sources(
    config: &Config,
    layer: &Layer,
    metrics: &Metrics,
    supervisor: &Supervisor,
) -> Result<Option<(DjangoLayer, Sources)>, LayerError> {
    let settings = &config.sources;
    // Shown at zero where there is nothing to receive, too.
    let of_channels = Arc::new(ChannelsMetrics::new(metrics));
    let of_sources = Arc::new(SourceMetrics::new(metrics));
    let Some(connection) = SourceConnection::open(layer, settings)? else { return Ok(None) };
    let (servers, max_bytes) = (connection.servers(), config.publish.max_event_bytes);
    let channels = &settings.channels;
    let django = DjangoLayer::start(channels, servers, max_bytes, &of_channels, supervisor);
    let sources = Sources::start(settings, connection, &django, max_bytes, &of_sources, supervisor);
    Ok(Some((django, sources)))
}

/// The queue of RabbitMQ, if there is one.
pub(super) fn start_amqp(
    config: &Config,
    layer: &Layer,
    forward_queue: &Option<ForwardQueue>,
    metrics: &Metrics,
    supervisor: &Supervisor,
) -> Option<AmqpSource> {
    let settings = config.amqp.as_ref()?;
    Some(AmqpSource::start(settings, layer, forward_queue.clone(), metrics, supervisor))
}
