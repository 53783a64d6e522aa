//! The command line: one file per command, and what they share.

mod check;
mod dev;
mod doctor;
mod explain;
mod failure;
mod init;
mod language;
mod serve;
mod signals;
mod summary;
mod token;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aws_lc_rs::rand;
use clap::{Args, Parser, Subcommand};
use data_encoding::BASE64URL_NOPAD;
use groupcast::config::{Config, Variables};

pub(crate) use failure::Failure;

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
  groupcast explain --sub 7 join pedido.42
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

/// The option that names the configuration file.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file [default: gateway.toml, if it exists]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
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

impl ConfigFile {
    /// The file to read. One that is named must exist; the default one may be missing.
    fn path(&self) -> Option<&Path> {
        let usual = Path::new("gateway.toml");
        self.config.as_deref().or_else(|| usual.exists().then_some(usual))
    }

    fn load(&self) -> Result<Config, Failure> {
        Config::load(self.path(), variables()).map_err(Failure::configuration)
    }
}

/// The process's environment, without variables that are not UTF-8.
fn variables() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Random bytes from the operating system.
fn random<const N: usize>() -> Result<[u8; N], &'static str> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| "the system random source is unavailable")?;
    Ok(bytes)
}

/// A secret of `N` random bytes that can be typed.
fn random_text<const N: usize>() -> Result<String, &'static str> {
    random::<N>().map(|bytes| BASE64URL_NOPAD.encode(&bytes))
}
