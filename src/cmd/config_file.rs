//! The configuration that a command is to read.

use std::path::{Path, PathBuf};

use clap::Args;
use groupcast::config::{Config, Variables};

use super::failure::Failure;

/// The option that names it.
#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file [default: gateway.toml, if it exists]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// The file to read. One that is named must exist; the default one may be missing.
    pub(super) fn path(&self) -> Option<&Path> {
        let usual = Path::new("gateway.toml");
        self.config.as_deref().or_else(|| usual.exists().then_some(usual))
    }

    pub(super) fn load(&self) -> Result<Config, Failure> {
        Config::load(self.path(), variables()).map_err(Failure::configuration)
    }
}

/// The process's environment, without variables that are not UTF-8.
fn variables() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
