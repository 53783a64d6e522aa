//! Measures a Groupcast gateway beside a control that only writes the same bytes.
//!
//! `scenarios/*` are the questions, `run` publishes and counts, `subject` is the process that is
//! measured (`gateway` or `control`), `clients` and `browser` receive, `proc` reads the kernel's
//! counters, `report` prints and compares with the budgets. What goes through Redis is a `cluster`
//! over a server of `redis`; `publishers` write there, also what Django's channel layer writes.

mod account;
mod browser;
mod clients;
mod cluster;
mod control;
mod event;
mod gateway;
mod http;
mod limits;
mod proc;
mod progress;
mod publishers;
mod redis;
mod report;
mod run;
mod scenarios;
mod stats;
mod subject;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use gateway::{Layer, Setup};
use report::Report;
use scenarios::Bench;

/// Deliveries were lost, a connection failed, or nothing could be measured (2 is clap's: usage).
const FAILED: u8 = 1;
/// Everything arrived, but a budget was exceeded.
const EXCEEDED: u8 = 3;

/// All scenarios by name, with the flags of a quick run.
const SCENARIOS: [(&str, &str); 8] = [
    ("idle", "--connections=200 --rounds=1"),
    ("fanout", "--members=50 --seconds=1 --rounds=1"),
    ("backlog", "--members=50 --seconds=1 --rounds=1"),
    ("slow", "--members=50 --stalled=5 --bytes=16000 --seconds=1 --rounds=1"),
    ("redis-latency", "--seconds=1 --rounds=1"),
    (
        "drain",
        "--groups=20 --rate=400 --senders=2 --instances=2 --seconds=1 --step-seconds=0 --rounds=1",
    ),
    ("native", "--groups=20 --batch=20 --window=400 --seconds=1 --rounds=1"),
    ("idle-channels", "--groups=100 --seconds=1 --rounds=1"),
];

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

Exit codes: 0 all delivered, 1 something was lost or failed, 2 usage, 3 budget exceeded (--check).
Compare ratios and user CPU; times on a shared machine mean little. See loadtest/README.md."
)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
    /// The gateway's program.
    #[arg(long, global = true, value_name = "FILE")]
    #[arg(default_value_os_t = gateway::default_program())]
    gateway: PathBuf,
    /// Also write all figures, run by run, as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit with 3 if a median exceeds its budget in budgets.toml.
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
    Idle(scenarios::idle::Idle),
    Fanout(scenarios::fanout::Fanout),
    Backlog(scenarios::fanout::Backlog),
    Slow(scenarios::slow::Slow),
    RedisLatency(scenarios::redis_latency::RedisLatency),
    Drain(scenarios::drain::Drain),
    Native(scenarios::native::Native),
    IdleChannels(scenarios::idle_channels::IdleChannels),
    /// All of them, with their defaults
    All,
    #[command(hide = true)]
    Control(control::Control),
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        progress::end();
        eprintln!("loadtest: {error}");
        ExitCode::from(FAILED)
    })
}

fn run() -> io::Result<ExitCode> {
    let matches = Cli::command().get_matches();
    let chosen = matches.subcommand_name().unwrap_or_default();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let Cli { scenario, gateway, json, check, quick, shards, control_threads } = cli;
    if let Scenario::Control(control) = scenario {
        return control.run().map(|()| ExitCode::SUCCESS);
    }
    let bench = Bench {
        setup: Setup { program: gateway, shards, ping: "25s", layer: Layer::Memory },
        control_threads: if control_threads == 0 { limits::cores() } else { control_threads },
    };
    let all = matches!(scenario, Scenario::All);
    let mut reports = Vec::new();
    for (name, flags) in SCENARIOS.into_iter().filter(|(name, _)| all || *name == chosen) {
        let mut report = Report::new(name);
        match (quick, all) {
            (true, _) => parse(name, flags)?.run(&bench, &mut report)?,
            (false, true) => parse(name, "")?.run(&bench, &mut report)?,
            (false, false) => scenario.run(&bench, &mut report)?,
        }
        progress::end();
        if quick {
            report.drop_checks();
        }
        println!("{}", report.text());
        reports.push(report);
    }
    if let Some(path) = json {
        report::write_json(&path, &reports)?;
    }
    let exceeded = check && !reports.iter().all(Report::within_budget);
    Ok(if exceeded { ExitCode::from(EXCEEDED) } else { ExitCode::SUCCESS })
}

/// The scenario `name` with `flags` and otherwise its defaults.
fn parse(name: &str, flags: &str) -> io::Result<Scenario> {
    let line = ["loadtest", name].into_iter().chain(flags.split_whitespace());
    Cli::try_parse_from(line).map(|cli| cli.scenario).map_err(io::Error::other)
}

impl Scenario {
    fn run(&self, bench: &Bench, report: &mut Report) -> io::Result<()> {
        match self {
            Self::Idle(idle) => idle.run(bench, report),
            Self::Fanout(fanout) => fanout.run(bench, report),
            Self::Backlog(backlog) => backlog.run(bench, report),
            Self::Slow(slow) => slow.run(bench, report),
            Self::RedisLatency(latency) => latency.run(bench, report),
            Self::Drain(drain) => drain.run(bench, report),
            Self::Native(native) => native.run(bench, report),
            Self::IdleChannels(idle) => idle.run(bench, report),
            Self::All | Self::Control(_) => Err(io::Error::other("not a single scenario")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_accepts_its_defaults_and_its_quick_flags() {
        Cli::command().debug_assert();
        for (name, quick) in SCENARIOS {
            parse(name, "--quick").unwrap();
            parse(name, quick).unwrap();
        }
        assert!(parse("all", "--quick --check").is_err());
    }
}
