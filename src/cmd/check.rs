//! `groupcast check`: is the configuration right, and what does it mean?

use std::process::ExitCode;

use clap::Args;

use super::{ConfigFile, Failure, summary};

/// Check the configuration and say what it means
///
/// Prints listeners, keys, grants, routes and limits, then what is allowed but worth a thought.
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
            Some(path) => println!("{} and the environment mean:\n", path.display()),
            None => println!("without a gateway.toml, the defaults and the environment mean:\n"),
        }
        print!("{}", summary::of(&config));
        for warning in config.warnings() {
            println!("warning: {warning}");
        }
        config.check_serves().map_err(Failure::configuration)?;
        Ok(ExitCode::SUCCESS)
    }
}
