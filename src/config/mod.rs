//! From `gateway.toml` and the environment to the settings of every room, checked together.
//!
//! Two stages: `raw` is what was written, `check` makes of it what it means. Nothing is started
//! with a configuration that has a doubtful value in it.

mod backend;
mod check;
mod credentials;
mod environment;
mod error;
mod raw;
mod redis;
mod routes;
mod secret;
#[cfg(test)]
mod tests;
mod units;
mod warnings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::ConfigError;

use crate::protocol::Shape;
use crate::sources::SourceSettings;
use crate::{api, coordinator, hub, identity, layer, publish, server, socket, telemetry};

/// Everything that the gateway is told, room by room.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The listener for back ends.
    pub api: api::Settings,
    /// The listener for browsers, handshakes, routes.
    pub server: server::Settings,
    /// Bounds of every connection.
    pub connection: socket::Settings,
    /// Threads and queues.
    pub hub: hub::Settings,
    /// Bounds at the one door in.
    pub publish: publish::Settings,
    /// What carries publications between instances.
    pub layer: layer::Settings,
    /// External formats and durable sources.
    pub sources: SourceSettings,
    /// The server that is asked who somebody is and that takes calls.
    pub backend: crate::backend::Settings,
    /// Interest in groups.
    pub coordinator: coordinator::Settings,
    /// Keys and grants.
    pub identity: identity::Settings,
    /// Where logs go and what they hold.
    pub log: telemetry::LogSettings,
    /// How routes show events to plain connections; [`server::Route::shape`] is an index into it.
    /// The first shows every event as it is; equal shapes are one, since each costs a frame a
    /// publication.
    pub shapes: Vec<Shape>,
}

/// Variables of the environment, by name.
pub type Variables = BTreeMap<String, String>;

/// What a configuration was read from, and what its references to elsewhere are relative to.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) variables: Variables,
}

impl Config {
    /// Reads `file`, or the defaults if there is none, lays `variables` over it and checks the sum.
    pub fn load(file: Option<&Path>, variables: Variables) -> Result<Self, ConfigError> {
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?,
        };
        let named = file.unwrap_or(Path::new("gateway.toml"));
        let raw = Self::parse(named, &text, &variables)?;
        let folder = named.parent().map(Path::to_owned).unwrap_or_default();
        check::check(&raw, &Place { folder, variables })
    }

    fn parse(path: &Path, text: &str, variables: &Variables) -> Result<raw::Raw, ConfigError> {
        let inside = |error: toml::de::Error| ConfigError::parse(path, text, &error);
        // Read as Raw first: only from the text itself do errors know their line.
        toml::from_str::<raw::Raw>(text).map_err(inside)?;
        environment::overlay(toml::from_str(text).map_err(inside)?, variables)
    }
}

/// A time such as `15m`, as in the configuration; `None` if it is none.
pub fn parse_period(text: &str) -> Option<Duration> {
    units::Period::parse(text).map(|period| period.0)
}
