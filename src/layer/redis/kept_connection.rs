//! Keeps clients connected, and where the primary is.

use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use tokio::time::{sleep, timeout};

use super::address_lookup::AddressLookup;
use super::connect::AbortOnDrop;
use super::sentinels::ask_sentinels;
use crate::layer::RedisSettings;
use crate::layer::address::KnownPrimary;

/// Wait before starting again when the client gives up for good, as it does when its buffer is full
/// at the moment the connection is lost.
const RESTART: Duration = Duration::from_millis(200);

/// How long a connection to an old primary stays: from the moment at which another is named nothing
/// more is accepted, and what was accepted just before arrives.
const LINGER: Duration = Duration::from_millis(50);

/// Wait for a reconnection, of which nobody needs to know.
const RECONNECTING: Duration = Duration::from_millis(100);

/// Keeps `client` connected until the answer is dropped; must be called within a runtime. Its own
/// policy reconnects for as long as it runs; this starts it again when it ends, and connects it
/// anew when sentinels name another primary. `connection` is its name in logs.
pub(super) fn keep_connected(
    settings: &RedisSettings,
    client: Client,
    lookup: AddressLookup,
    connection: &'static str,
) -> AbortOnDrop<()> {
    let asking = ask_sentinels(settings);
    AbortOnDrop(tokio::spawn(async move {
        let _asking = asking;
        client.set_resolver(lookup.resolver()).await;
        let known = lookup.sentinels().map(|sentinels| Arc::clone(&sentinels.known));
        let follow = follow(&client, known, connection);
        tokio::select! {
            () = connect_for_ever(&client, connection) => {}
            () = follow => {}
        }
    }))
}

async fn connect_for_ever(client: &Client, connection: &'static str) {
    loop {
        let mut task = AbortOnDrop(client.connect());
        match (&mut task.0).await {
            Ok(Ok(())) => tracing::info!(connection, "connection to Redis ended"),
            Ok(Err(error)) => tracing::warn!(connection, %error, "connection to Redis failed"),
            Err(error) => {
                tracing::error!(connection, %error, "connection to Redis ended by a panic");
            }
        }
        sleep(RESTART).await;
    }
}

/// Connects anew whenever another primary is named.
async fn follow(client: &Client, known: Option<Arc<KnownPrimary>>, connection: &'static str) {
    let Some(known) = known else { return std::future::pending().await };
    let mut changes = known.changes();
    let mut place = None;
    loop {
        let named = changes.borrow_and_update().clone();
        if let Some(named) = named
            && place.as_ref() != Some(&named.place())
            && place.replace(named.place()).is_some()
        {
            let to = format!("{}:{}", named.host, named.port);
            tracing::warn!(connection, to, "sentinels name another primary");
            sleep(LINGER).await;
            // It goes on by itself.
            let _ = timeout(RECONNECTING, client.force_reconnection()).await;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
