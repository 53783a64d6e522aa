//! A gateway in the test's own process, on free ports.

use std::ops::Deref;

use groupcast::config::{Config, Variables};
use groupcast::{DrainOutcome, Listeners, RunError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Endpoints, Folder, complete_config, soon};

/// A gateway. It ends with the test's runtime, or earlier by `stop`.
pub(crate) struct Gateway {
    endpoints: Endpoints,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<DrainOutcome, RunError>>,
}

impl Gateway {
    /// Starts one with the tests' common configuration and `/ws`.
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// Starts one with the tests' common configuration and `configuration`.
    pub(crate) async fn with(configuration: &str) -> Self {
        Self::with_settings(configuration, |_| {}).await
    }

    /// The same, with settings that no file has.
    pub(crate) async fn with_settings(
        configuration: &str,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let folder = Folder::with(&complete_config(configuration));
        let config = Config::load(Some(&folder.gateway_toml()), Variables::new());
        let mut config = config.unwrap_or_else(|error| panic!("{error}"));
        change(&mut config);
        let listeners = Listeners::bind(&config).unwrap();
        let endpoints = Endpoints {
            public: listeners.public_addr().unwrap(),
            api: listeners.api_addr().unwrap(),
        };
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(groupcast::run(config, listeners, async {
            // Dropping the gateway stops it, too.
            let _ = stopped.await;
        }));
        Self { endpoints, stop: Some(stop), running }
    }

    /// Starts the shutdown.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until a stopped gateway has ended.
    pub(crate) async fn ended(self) -> DrainOutcome {
        soon("the gateway to end", self.running).await.unwrap().unwrap()
    }
}

impl Deref for Gateway {
    type Target = Endpoints;

    fn deref(&self) -> &Endpoints {
        &self.endpoints
    }
}
