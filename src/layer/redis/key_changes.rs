//! Notifications that keys were written (CLIENT TRACKING in broadcast mode). They remove nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{EventInterface, TrackingInterface};
use fred::types::client::Invalidation;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// Notifications that may wait; if more arrive, any key may have changed.
pub(super) const WAITING: usize = 4096;

/// Between two attempts to start tracking.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The notifications of one connection.
pub struct KeyChanges {
    notifications: broadcast::Receiver<Invalidation>,
    /// What [`KeyChanges::changed`] has received.
    received: ChangedKeys,
}

/// The keys written since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ChangedKeys {
    /// Those that are known.
    pub keys: HashSet<String>,
    /// Whether any other may have been, too.
    pub all: bool,
    /// Whether all keys were deleted, by FLUSHALL or FLUSHDB.
    pub flushed: bool,
}

impl ChangedKeys {
    fn add(&mut self, written: &Invalidation) {
        // FLUSHALL and FLUSHDB name no key.
        let flushed = written.keys.is_empty();
        (self.all, self.flushed) = (self.all | flushed, self.flushed | flushed);
        self.keys.extend(written.keys.iter().filter_map(|key| key.as_str().map(str::to_owned)));
    }
}

impl KeyChanges {
    pub(super) fn new(client: &Client) -> Self {
        Self { notifications: client.invalidation_rx(), received: ChangedKeys::default() }
    }

    /// Waits until a key is written.
    pub async fn changed(&mut self) {
        match self.notifications.recv().await {
            Ok(written) => self.received.add(&written),
            Err(RecvError::Lagged(_)) => self.received.all = true,
            // The client exists as long as the handle.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }

    /// The keys written since the last call.
    pub fn take(&mut self) -> ChangedKeys {
        let mut changed = std::mem::take(&mut self.received);
        loop {
            match self.notifications.try_recv() {
                Ok(written) => changed.add(&written),
                Err(TryRecvError::Lagged(_)) => changed.all = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return changed,
            }
        }
    }
}

/// Tracks keys with these prefixes on each connection of `client`; `tracking` is set while that
/// works.
pub(super) async fn track(client: Client, prefixes: Vec<String>, tracking: Arc<AtomicBool>) {
    let mut reconnects = client.reconnect_rx();
    let mut errors = client.error_rx();
    loop {
        if !tracking.load(Ordering::Acquire) {
            // Tracking that starts now covers all earlier reconnections.
            while !matches!(reconnects.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed))
            {
            }
            match start_tracking(&client, prefixes.clone()).await {
                Ok(()) => tracking.store(true, Ordering::Release),
                Err(error) => tracing::debug!(%error, "no tracking of keys; sources are polled"),
            }
        }
        tokio::select! {
            _ = reconnects.recv() => tracking.store(false, Ordering::Release),
            _ = errors.recv() => tracking.store(false, Ordering::Release),
            () = tokio::time::sleep(RETRY_INTERVAL), if !tracking.load(Ordering::Acquire) => {}
        }
    }
}

/// Off before on: Redis refuses to track the same prefix twice.
async fn start_tracking(client: &Client, prefixes: Vec<String>) -> Result<(), Error> {
    client.stop_tracking().await?;
    // NOLOOP: what this connection's own scripts remove need not be notified.
    client.start_tracking(prefixes, true, false, false, true).await
}
