//! `groupcast serve`: runs the gateway until a signal.

use std::process::ExitCode;

use clap::Args;
use groupcast::{DrainOutcome, Listeners};

use super::{ConfigFile, Failure, signals};

/// Run the gateway
///
/// Browsers connect to listen.public, back ends publish to listen.api. On SIGTERM or SIGINT the
/// gateway drains: it closes connections at drain.rate, each with a time to reconnect, for at most
/// drain.grace. With log.format = "json" the first line of stdout has the addresses, so port 0
/// works.
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
        block_on(async {
            let stop = signals::stop().map_err(Failure::start)?;
            let listeners = Listeners::bind(&config).map_err(Failure::start)?;
            groupcast::run(config, listeners, stop).await.map_err(Failure::start)
        })
    }
}

/// Runs a gateway on a runtime with one worker per core. Logging has started.
pub(super) fn block_on(
    gateway: impl Future<Output = Result<DrainOutcome, Failure>>,
) -> Result<ExitCode, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::start)?;
    let outcome = runtime.block_on(gateway)?;
    tracing::info!(?outcome, "stopped");
    Ok(ExitCode::SUCCESS)
}
