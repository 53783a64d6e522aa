//! Connects a client once, without reconnection.

use std::time::Duration;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use tokio::time::timeout;

use super::address_lookup::AddressLookup;
use super::connect::AbortOnDrop;
use super::script::{ScriptError, sort};
use crate::layer::LayerError;

/// A connection, which ends with this value.
pub(super) type SingleConnection = AbortOnDrop<Result<(), Error>>;

/// Connects `client` within `limit`.
///
/// # Errors
/// [`ScriptError::Refused`] for a password or a server that is not the right one.
pub(super) async fn connect_once(
    client: &Client,
    lookup: &AddressLookup,
    limit: Duration,
) -> Result<SingleConnection, ScriptError> {
    client.set_resolver(lookup.resolver()).await;
    let connecting = timeout(limit, client.init()).await.map_err(|_| {
        ScriptError::from(LayerError::Unreachable(format!("no answer within {limit:?}")))
    })?;
    connecting.map(AbortOnDrop).map_err(|error| sort(&error))
}
