//! `groupcast check`: validates and describes the configuration.

use std::process::ExitCode;

use clap::Args;

use super::{ConfigFile, Failure, summary};

/// Check the configuration and describe its effect
///
/// Prints listeners, keys, grants, routes and limits, then warnings about valid but risky settings.
/// Secrets are never shown. Exits with 64 if the gateway would not start.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  groupcast check
  groupcast check --config staging.toml
  GROUPCAST_LIMITS_OUTBOX_BYTES=1MiB groupcast check")]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
}

impl Check {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let config = self.file.load()?;
        match self.file.path() {
            Some(path) => println!("effect of {} and the environment:\n", path.display()),
            None => println!("no gateway.toml; effect of the defaults and the environment:\n"),
        }
        print!("{}", summary::of(&config));
        for warning in config.warnings() {
            println!("warning: {warning}");
        }
        config.check_serves().map_err(Failure::configuration)?;
        Ok(ExitCode::SUCCESS)
    }
}
