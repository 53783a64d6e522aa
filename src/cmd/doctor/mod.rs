//! `groupcast doctor`: will it run here, and what does Django's channel layer look like?

mod hook;
mod machine;
mod report;
mod suggestion;

use std::process::ExitCode;

use clap::Args;
use groupcast::channels::doctor::{self, Examination, Finding, Level};
use groupcast::config::Config;
use groupcast::layer::Kind;
use groupcast::server;

use super::{ConfigFile, Failure};

/// Try everything that the gateway will need, and say what to mend
///
/// Reads the configuration as serve does and tries limits, ports and Redis: version, speed, rights,
/// tracking, clock, memory, buffers, and what the instances of the cluster have agreed on. With
/// channels.receive it also compares the configuration with what Django keeps there. Nothing is
/// changed, and a running gateway does not notice. Exits with 1 if something fails.
///
/// With --channels it needs no configuration: it reads the channel layer that Django has today, says
/// who is in its groups and what will bite, and prints the lines to put into Django's settings and
/// gateway.toml.
///
/// With --backend it also asks the connect hook once, as for a browser.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  groupcast doctor
  groupcast doctor --config /etc/groupcast/gateway.toml --json
  groupcast doctor --channels redis://127.0.0.1:6379
  groupcast doctor --channels redis://:secret@10.0.0.5:6379/2 --prefix tienda
  groupcast doctor --backend --host tienda.example --path /ws/notificaciones/ --cookie 'sessionid=…'

The address is the one in CHANNEL_LAYERS, database included. At most 10,000 keys are looked at, by
SCAN, so this may be run against a Redis in use. Each line begins with ok, warn or fail.")]
pub(super) struct Doctor {
    #[command(flatten)]
    file: ConfigFile,
    /// Look at the channel layer of Django at this Redis instead
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    channels: Option<String>,
    /// Its prefix, as in CHANNEL_LAYERS
    #[arg(long, default_value = "asgi", requires = "channels")]
    prefix: String,
    #[command(flatten)]
    browser: hook::Browser,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::start)?;
        let examination = match &self.channels {
            Some(url) => {
                let drain = server::Settings::default().drain_grace;
                let looking = doctor::survey(url, &self.prefix, drain);
                runtime.block_on(looking).map_err(Failure::configuration)?
            }
            None => {
                let config = self.file.load()?;
                config.check_serves().map_err(Failure::configuration)?;
                let mut findings = machine::look(&config);
                let mut examination = runtime.block_on(redis(&config));
                findings.append(&mut examination.findings);
                findings.extend(runtime.block_on(hook::look(&config, &self.browser))?);
                Examination { findings, ..examination }
            }
        };
        let suggestion = self.channels.as_deref().zip(examination.survey.as_ref());
        let suggestion = suggestion.map(|(url, survey)| suggestion::of(url, survey));
        if self.json {
            println!("{:#}", report::json(&examination, suggestion.as_ref()));
        } else {
            print!("{}", report::text(&examination, suggestion.as_ref()));
        }
        let failed = examination.findings.iter().any(|finding| finding.level == Level::Fail);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

async fn redis(config: &Config) -> Examination {
    match &config.layer.kind {
        Kind::Redis(redis) => {
            let sources = &config.sources;
            let drain = config.server.drain_grace;
            doctor::examine(redis, &sources.channels, sources.ingress, drain).await
        }
        Kind::Memory => Examination {
            findings: vec![Finding::ok("layer", "memory: one instance, which needs nothing else")],
            survey: None,
        },
    }
}
