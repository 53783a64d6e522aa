//! A real gateway in this process, on free ports.

use std::ops::Deref;

use groupcast::config::{Config, Variables};
use groupcast::{DrainOutcome, Listeners, RunError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Endpoints, Folder, soon, whole};

/// A gateway; it ends with the test's runtime, or earlier by `stop`.
pub(crate) struct Gateway {
    endpoints: Endpoints,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<DrainOutcome, RunError>>,
}

impl Gateway {
    /// With the basics of the tests, and `/ws`.
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// With the basics and what `configuration` adds to them.
    pub(crate) async fn with(configuration: &str) -> Self {
        let folder = Folder::with(&whole(configuration));
        let config = Config::load(Some(&folder.gateway_toml()), Variables::new());
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        let listeners = Listeners::bind(&config).unwrap();
        let endpoints = Endpoints {
            public: listeners.public_addr().unwrap(),
            api: listeners.api_addr().unwrap(),
        };
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(groupcast::run(config, listeners, async {
            // A gateway that is dropped ends as one that is stopped.
            let _ = stopped.await;
        }));
        Self { endpoints, stop: Some(stop), running }
    }

    /// Begins to drain.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits for the end of a gateway that was stopped.
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
