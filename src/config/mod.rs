//! Turns `gateway.toml` and the environment into the settings of every room, checked together.
//!
//! Two stages: `raw` has the form of the file, `check` the settings of the rooms. Nothing starts with
//! an invalid value anywhere.

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
use environment::Overlaid;

/// The whole configuration, room by room.
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
    /// What connects instances: memory or Redis.
    pub layer: layer::Settings,
    /// Django's channel layer and the ingress stream.
    pub sources: SourceSettings,
    /// The site: connect hook and calls.
    pub backend: crate::backend::Settings,
    /// How long subscriptions outlive the last member.
    pub coordinator: coordinator::Settings,
    /// Keys of tokens and back ends, grants.
    pub identity: identity::Settings,
    /// Level and form of logs.
    pub log: telemetry::LogSettings,
    /// Shapes of events on plain connections; [`server::Route::shape`] is an index into it. The first
    /// leaves events unchanged; equal shapes are one, since each costs a frame per publication.
    pub shapes: Vec<Shape>,
    /// Variables that begin with `GROUPCAST_` and name nothing of the configuration.
    pub ignored_variables: Vec<String>,
}

/// Variables of the environment, by name.
pub type Variables = BTreeMap<String, String>;

/// What the configuration's references are resolved against.
pub(crate) struct Context {
    pub(crate) folder: PathBuf,
    pub(crate) variables: Variables,
}

impl Config {
    /// Reads `file`, or the defaults if there is none, overlays `variables` and checks the result.
    pub fn load(file: Option<&Path>, variables: Variables) -> Result<Self, ConfigError> {
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?,
        };
        Self::parse(file.unwrap_or(Path::new("gateway.toml")), &text, variables)
    }

    /// As [`Config::load`], of a file at `path` with this `text`.
    fn parse(path: &Path, text: &str, variables: Variables) -> Result<Self, ConfigError> {
        let inside = |error: toml::de::Error| ConfigError::parse(path, text, &error);
        // Read as Raw first: only errors of the text itself have a line.
        toml::from_str::<raw::Raw>(text).map_err(inside)?;
        let Overlaid { raw, ignored } =
            environment::overlay(toml::from_str(text).map_err(inside)?, &variables)?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let config = check::check(&raw, &Context { folder, variables })?;
        Ok(Self { ignored_variables: ignored, ..config })
    }
}

/// A time such as `15m`, as in the configuration; `None` if it is none.
pub fn parse_period(text: &str) -> Option<Duration> {
    units::Period::parse(text).map(|period| period.0)
}
