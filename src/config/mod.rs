//! Builds the settings of every room from `gateway.toml` and the environment, checked together.
//!
//! Two stages: `raw` has the form of the file, `check` the settings of the rooms. Nothing starts
//! with an invalid value.

mod amqp;
mod backend;
mod celery;
mod check;
mod cluster;
mod context;
mod credentials;
mod env_file;
mod environment;
mod error;
mod load;
mod range;
mod raw;
mod redis;
mod routes;
mod secret;
mod servers;
mod tasks;
#[cfg(test)]
mod tests;
mod units;
mod warnings;

use std::time::Duration;

use context::ReferenceContext;
pub use context::Variables;
pub use error::ConfigError;

pub use crate::server::Allow;
pub use crate::socket::Overflow;

use crate::celery::CelerySettings;
use crate::protocol::Shape;
use crate::sources::{AmqpSettings, SourceSettings};
use crate::{api, coordinator, hub, identity, layer, publish, server, socket, telemetry};

/// The checked configuration, by room.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The listener for back ends.
    pub api: api::Settings,
    /// The listener for browsers, handshakes, routes.
    pub server: server::Settings,
    /// Bounds of every connection.
    pub connection: socket::Settings,
    /// Threads and queues of shards.
    pub hub: hub::Settings,
    /// Bounds of publications.
    pub publish: publish::Settings,
    /// The layer between instances: memory or Redis.
    pub layer: layer::Settings,
    /// Django's channel layer and the ingress stream.
    pub sources: SourceSettings,
    /// A queue of RabbitMQ; `None` = there is no broker.
    pub amqp: Option<AmqpSettings>,
    /// Celery's result back end, whose states of tasks browsers watch.
    pub celery: CelerySettings,
    /// The site: connect hook and calls.
    pub backend: crate::backend::Settings,
    /// How long subscriptions outlive the last member.
    pub coordinator: coordinator::Settings,
    /// Keys of tokens and back ends, grants.
    pub identity: identity::Settings,
    /// Level and form of logs.
    pub log: telemetry::LogSettings,
    /// Shapes of events on plain connections; `server::Route::shape` is an index into it. The
    /// first leaves events unchanged; equal shapes are one, since each costs a frame per
    /// publication.
    pub shapes: Vec<Shape>,
    /// Variables that begin with `GROUPCAST_` but name no key.
    pub ignored_variables: Vec<String>,
}

/// A time such as `15m`, as in the configuration; `None` if it is none.
pub fn parse_period(text: &str) -> Option<Duration> {
    units::Period::parse(text).map(|period| period.0)
}
