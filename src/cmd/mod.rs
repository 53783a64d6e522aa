//! The command line: one file per command, and what they share.

mod check;
mod config_file;
mod dev;
mod doctor;
mod explain;
mod failure;
mod init;
mod language;
mod random;
mod serve;
mod signals;
mod summary;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use config_file::ConfigFile;
pub(crate) use failure::Failure;
use random::random_text;

/// A real-time WebSocket channel-layer gateway for Django, Celery and any HTTP client
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Examples:
  groupcast dev                      try it: one process, prints a page, a token and a curl command
  groupcast check                    validate gateway.toml and describe its effect
  groupcast doctor                   check this machine, Redis and the site
  groupcast serve                    run the gateway
  groupcast token --sub 7            make a token to connect with
  groupcast explain --sub 7 join order.42
  groupcast init django              set up a Django project

Configuration: gateway.toml in the current folder, or --config. Each key can also be set by a
variable, such as GROUPCAST_LISTEN_PUBLIC=0.0.0.0:8080.
Exit codes: 0 success, 1 failure or denied, 2 invalid arguments, 64 invalid configuration."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Dev(dev::Dev),
    Check(check::Check),
    Doctor(doctor::Doctor),
    Token(token::Token),
    Explain(explain::Explain),
    Init(init::Init),
}

/// Runs the command.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Dev(dev) => dev.run(),
        Command::Check(check) => check.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Token(token) => token.run(),
        Command::Explain(explain) => explain.run(),
        Command::Init(init) => init.run(),
    }
}
