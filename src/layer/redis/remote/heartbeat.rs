//! The heartbeat each second on a server besides the layer's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::config::Server;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until, timeout};

use super::state::RemoteState;
use crate::event::InstanceId;
use crate::layer::LayerError;
use crate::layer::redis::connect::Commands;
use crate::layer::redis::script::{Script, ScriptError, layer_error};

/// Between two heartbeats.
const INTERVAL: Duration = Duration::from_secs(1);

/// Between two attempts while the server is away, to detect a recovery soon.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Wait for the renewal of a connection, which goes on by itself.
const RENEWING: Duration = Duration::from_millis(100);

/// Sends the heartbeats of one instance to one server.
pub(super) struct RemoteHeartbeat {
    pub(super) commands: Commands,
    /// The connection of `commands`.
    pub(super) client: Client,
    pub(super) reconnects: broadcast::Receiver<Server>,
    pub(super) errors: broadcast::Receiver<(Error, Option<Server>)>,
    pub(super) keys: Vec<String>,
    pub(super) instance: InstanceId,
    pub(super) expiry: Duration,
    pub(super) place: String,
    pub(super) state: Arc<RemoteState>,
}

impl RemoteHeartbeat {
    /// Sends heartbeats for as long as it is polled.
    pub(super) async fn run(mut self) {
        let script = Script::new(&[include_str!("heartbeat.lua")]);
        loop {
            let pause = if self.state.is_answering() { INTERVAL } else { RETRY_INTERVAL };
            let due = Instant::now() + pause;
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.state.wanted() => {}
                _ = self.reconnects.recv() => {}
                error = self.errors.recv() => {
                    let error = error.ok().map(|(error, _)| layer_error(&error));
                    self.failed(&error.unwrap_or_else(lost));
                    sleep_until(due).await;
                }
            }
            match self.send(&script).await {
                Ok((generation, untold)) => {
                    if self.state.answered(generation, untold == 1) {
                        tracing::info!(server = self.place, "redis of sources answers again");
                    }
                }
                Err(error) => self.refused(error.into()).await,
            }
        }
    }

    async fn send(&mut self, script: &Script) -> Result<(u64, u64), ScriptError> {
        // Older than the answer that is awaited now.
        while self.errors.try_recv().is_ok() {}
        let (known, told) = self.state.generation();
        let arguments = [
            self.instance.to_string(),
            known.to_string(),
            self.expiry.as_secs().to_string(),
            told.to_string(),
        ];
        let arguments = arguments.map(Bytes::from).to_vec();
        script.run(&self.commands, self.keys.clone(), arguments).await
    }

    /// A replica does not become a primary by waiting: its name may lead to the new one by now.
    async fn refused(&self, error: LayerError) {
        self.failed(&error);
        if matches!(&error, LayerError::Refused(words) if words.starts_with("READONLY")) {
            let _ = timeout(RENEWING, self.client.force_reconnection()).await;
        }
    }

    fn failed(&self, error: &LayerError) {
        if self.state.failed(error.to_string()) {
            tracing::warn!(server = self.place, %error, "redis of sources is away");
        }
    }
}

fn lost() -> LayerError {
    LayerError::Unreachable("the connection was lost".to_owned())
}
