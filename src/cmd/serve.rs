//! `groupcast serve`: the gateway, until it is told to stop.

use std::process::ExitCode;

use clap::Args;
use groupcast::Listeners;
use groupcast::config::Config;

use super::{ConfigFile, Failure, signals};

/// Run the gateway
///
/// Browsers connect to listen.public, back ends publish to listen.api. SIGTERM and SIGINT drain:
/// connections are closed at drain.rate with the advice to come back, for drain.grace at most.
/// With log.format = "json" the first line on stdout names the addresses, so port 0 can be used.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  groupcast serve
  groupcast serve --config /etc/groupcast/gateway.toml
  GROUPCAST_LISTEN_PUBLIC=127.0.0.1:0 GROUPCAST_LOG_FORMAT=json groupcast serve")]
pub(super) struct Serve {
    #[command(flatten)]
    file: ConfigFile,
}

impl Serve {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let config = self.file.load()?;
        config.check_serves().map_err(Failure::configuration)?;
        let _log = config.log.start().map_err(Failure::start)?;
        run(config, |_| Ok(()))
    }
}

/// Binds, tells `bound` where, and runs until a signal. Logging is up.
pub(super) fn run(
    config: Config,
    bound: impl FnOnce(&Listeners) -> std::io::Result<()>,
) -> Result<ExitCode, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::start)?;
    runtime.block_on(async {
        let stop = signals::stop().map_err(Failure::start)?;
        let listeners = Listeners::bind(&config.server).map_err(Failure::start)?;
        bound(&listeners).map_err(Failure::start)?;
        let drained = groupcast::run(config, listeners, stop).await.map_err(Failure::start)?;
        tracing::info!(outcome = ?drained, "stopped");
        Ok(ExitCode::SUCCESS)
    })
}
