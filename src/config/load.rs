//! Reads the file, overlays the environment and checks the result.

use std::path::Path;

use super::context::{ReferenceContext, Variables};
use super::environment::Overlaid;
use super::{Config, ConfigError, check, environment, raw};

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
