//! What is typed: one file per command, and what they all need.

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

/// A real-time WebSocket channel-layer gateway for Django, Celery and anything that can POST.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Examples:
  groupcast dev                      try it: everything in one process, token and curl line printed
  groupcast check                    is gateway.toml right, and what does it mean?
  groupcast doctor                   are this machine and Redis as it needs them?
  groupcast serve                    run it
  groupcast token --sub 7            a token to connect with
  groupcast explain --sub 7 join pedido.42
  groupcast init django              begin beside a Django project

Configuration: gateway.toml in the current folder, or --config; every key can also be given as a
variable, such as GROUPCAST_LISTEN_PUBLIC=0.0.0.0:8080.
Exit codes: 0 all well, 1 failed to start or answered no, 2 wrong arguments, 64 bad configuration."
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

/// Where the configuration is.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration [default: gateway.toml, if it is there]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command; what it has to say about a failure is the failure's.
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
    /// The file that is read: a named one must be there, the usual one need not.
    fn path(&self) -> Option<&Path> {
        let usual = Path::new("gateway.toml");
        self.config.as_deref().or_else(|| usual.exists().then_some(usual))
    }

    fn load(&self) -> Result<Config, Failure> {
        Config::load(self.path(), variables()).map_err(Failure::configuration)
    }
}

/// The process's environment. What is not UTF-8 cannot be a variable of the gateway.
fn variables() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Random bytes from the operating system.
fn random<const N: usize>() -> Result<[u8; N], &'static str> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| "the system gives no random bytes")?;
    Ok(bytes)
}

/// A secret of `N` random bytes that can be typed.
fn random_text<const N: usize>() -> Result<String, &'static str> {
    random::<N>().map(|bytes| BASE64URL_NOPAD.encode(&bytes))
}
