//! Measures a Groupcast gateway beside a control that only writes the same bytes.
//!
//! A walk: `scenarios/*` says what is done, `run` publishes and counts, `subject` is the process that
//! is measured (`gateway` or `control`), `clients` → `crowd` → `browser` are those who receive, `proc`
//! reads the kernel's counters, `report` prints and judges. What goes through Redis is a `cluster` over a
//! server of `redis`, to which `senders` say what Django's channel layer says.

mod account;
mod browser;
mod clients;
mod cluster;
mod control;
mod crowd;
mod event;
mod gateway;
mod http;
mod limits;
mod proc;
mod progress;
mod redis;
mod report;
mod run;
mod scenarios;
mod senders;
mod stats;
mod subject;
mod token;
mod websocket;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use gateway::{Layer, Setup};
use report::{Budgets, Report};
use scenarios::Surroundings;
use scenarios::backlog::Backlog;
use scenarios::drain::Drain;
use scenarios::fanout::Fanout;
use scenarios::idle::Idle;
use scenarios::idle_bridge::IdleBridge;
use scenarios::native::Native;
use scenarios::redis_latency::RedisLatency;
use scenarios::slow::Slow;

/// Deliveries were lost, a connection failed, or nothing could be measured (2 is clap's: usage).
const FAILED: u8 = 1;
/// Everything arrived, but a bar was missed.
const MISSED: u8 = 3;

/// All scenarios by name.
const SCENARIOS: [&str; 8] =
    ["idle", "fanout", "backlog", "slow", "redis-latency", "drain", "native", "idle-bridge"];

/// Measure a Groupcast gateway beside a control that only writes the same bytes
///
/// Starts the gateway itself, on free ports, with a configuration of its own. Every delivery is
/// counted: one that is missing, doubled or out of order ends the run with exit code 1.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  cargo build --release && cargo run --release -p loadtest -- fanout
  cargo run --release -p loadtest -- all --check --json figures.json
  cargo run --release -p loadtest -- all --quick        only that all is delivered, in seconds
  cargo run --release -p loadtest -- fanout --control-only   what this machine can do at best
  cargo run --release -p loadtest -- drain --rate 10000 --instances 2

Exit codes: 0 all delivered, 1 something was lost or failed, 2 usage, 3 a bar missed (--check).
Compare ratios and user CPU; times on a shared machine say little. See loadtest/README.md."
)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
struct Options {
    /// The gateway's program.
    #[arg(long, global = true, default_value_os_t = gateway::default_program(), value_name = "FILE")]
    gateway: PathBuf,
    /// Also write all figures, run by run, as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit with 3 if a median misses its bar in budgets.toml.
    #[arg(long, global = true, conflicts_with = "quick")]
    check: bool,
    /// A few seconds with few browsers: shows that all is delivered, measures nothing.
    #[arg(long, global = true)]
    quick: bool,
    /// The gateway's shards; 0 = one per core.
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    shards: usize,
    /// The control's writers; 0 = one per core, as the gateway.
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    control_threads: usize,
}

#[derive(Subcommand)]
enum Scenario {
    Idle(Idle),
    Fanout(Fanout),
    Backlog(Backlog),
    Slow(Slow),
    RedisLatency(RedisLatency),
    Drain(Drain),
    Native(Native),
    IdleBridge(IdleBridge),
    /// All of them, with their defaults
    All,
    #[command(hide = true)]
    Control {
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            progress::end();
            eprintln!("loadtest: {error}");
            ExitCode::from(FAILED)
        }
    }
}

impl Cli {
    fn run(self) -> io::Result<ExitCode> {
        let Options { gateway, json, check, quick, shards, control_threads } = self.options;
        let cores = limits::cores();
        let around = Surroundings {
            setup: Setup { program: gateway, shards, ping: "25s", layer: Layer::Memory },
            control_threads: if control_threads == 0 { cores } else { control_threads },
        };
        let scenarios = match self.scenario {
            Scenario::Control { threads } => {
                return control::run(threads).map(|()| ExitCode::SUCCESS);
            }
            Scenario::All => {
                SCENARIOS.map(|name| Self::parse_from(["loadtest", name]).scenario).into()
            }
            one => vec![one],
        };
        let budgets = Budgets::load()?;
        let mut reports = Vec::new();
        for scenario in scenarios {
            let report = scenario.run(quick, &around, &budgets)?;
            let report = if quick { report.unjudged() } else { report };
            println!("{}", report.text());
            reports.push(report);
        }
        if let Some(path) = json {
            report::write_json(&path, &reports)?;
        }
        let missed = check && !reports.iter().all(Report::kept);
        Ok(if missed { ExitCode::from(MISSED) } else { ExitCode::SUCCESS })
    }
}

impl Scenario {
    /// Runs one scenario; `quick` takes the place of what it was told.
    fn run(self, quick: bool, around: &Surroundings, budgets: &Budgets) -> io::Result<Report> {
        match self {
            Self::Idle(_) if quick => Idle::quick().run(around, &budgets.idle),
            Self::Idle(idle) => idle.run(around, &budgets.idle),
            Self::Fanout(_) if quick => Fanout::quick().run(around, &budgets.fanout),
            Self::Fanout(fanout) => fanout.run(around, &budgets.fanout),
            Self::Backlog(_) if quick => Backlog::quick().run(around, &budgets.backlog),
            Self::Backlog(backlog) => backlog.run(around, &budgets.backlog),
            Self::Slow(_) if quick => Slow::quick().run(around, &budgets.slow),
            Self::Slow(slow) => slow.run(around, &budgets.slow),
            Self::RedisLatency(_) if quick => RedisLatency::quick().run(around),
            Self::RedisLatency(latency) => latency.run(around),
            Self::Drain(_) if quick => Drain::quick().run(around, &budgets.drain),
            Self::Drain(drain) => drain.run(around, &budgets.drain),
            Self::Native(_) if quick => Native::quick().run(around),
            Self::Native(native) => native.run(around),
            Self::IdleBridge(_) if quick => IdleBridge::quick().run(around),
            Self::IdleBridge(idle) => idle.run(around),
            Self::All | Self::Control { .. } => Err(io::Error::other("not a single scenario")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        <Cli as clap::CommandFactory>::command().debug_assert();
        for name in SCENARIOS.into_iter().chain(["all"]) {
            assert!(Cli::try_parse_from(["loadtest", name, "--quick"]).is_ok(), "{name}");
        }
        assert!(Cli::try_parse_from(["loadtest", "all", "--quick", "--check"]).is_err());
    }
}
