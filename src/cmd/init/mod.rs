//! `groupcast init`: what a project needs to begin with, written into it.

mod django;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Failure;

/// Write what a project needs to begin with
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
