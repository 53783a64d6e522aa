//! `groupcast init`: sets up a project.

mod configuration;
mod django;
mod notes;
mod project;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Failure;

/// Set up a project
#[derive(Debug, Args)]
pub(super) struct Init {
    #[command(subcommand)]
    framework: Framework,
}

#[derive(Debug, Subcommand)]
enum Framework {
    Django(django::Django),
}

impl Init {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        match self.framework {
            Framework::Django(django) => django.run(),
        }
    }
}
