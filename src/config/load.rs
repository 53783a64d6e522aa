//! Reads the file, overlays the environment and checks the result.

use std::path::Path;

use super::context::{ReferenceContext, Variables};
use super::environment::Overlaid;
use super::{Config, ConfigError, check, env_file, environment, raw};

impl Config {
    /// Reads `file`, or the defaults if there is none, overlays `variables` and checks the result.
    ///
    /// A `groupcast.env` beside the file gives the variables that are not set.
    pub fn load(file: Option<&Path>, variables: Variables) -> Result<Self, ConfigError> {
        let Some(path) = file else {
            return Self::parse(Path::new("gateway.toml"), "", variables);
        };
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let variables = env_file::overlay(path.parent().unwrap_or(path), variables)?;
        Self::parse(path, &text, variables)
    }

    /// As [`Config::load`], of a file at `path` with this `text`.
    pub(super) fn parse(
        path: &Path,
        text: &str,
        variables: Variables,
    ) -> Result<Self, ConfigError> {
        let inside = |error: toml::de::Error| ConfigError::parse(path, text, &error);
        // Read as Raw first: only errors of the text itself have a line.
        toml::from_str::<raw::Raw>(text).map_err(inside)?;
        let Overlaid { raw, ignored } =
            environment::overlay(toml::from_str(text).map_err(inside)?, &variables)?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let config = check::check(&raw, &ReferenceContext { folder, variables })?;
        Ok(Self { ignored_variables: ignored, ..config })
    }
}
