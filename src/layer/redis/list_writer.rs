//! Appends to lists of any Redis, counts them, and publishes there, as those do who use it as a
//! message broker.

use std::sync::Arc;

use bytes::Bytes;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};

use super::connect::{self, AbortOnDrop, Commands};
use super::kept_connection::keep_connected;
use super::script::layer_error;
use crate::layer::{LayerError, RedisSettings};

/// Events of the connection that may wait; nobody reads them.
const EVENTS: usize = 16;

/// Clones share the connection.
#[derive(Clone)]
pub struct ListWriter {
    commands: Commands,
    _connection: Arc<AbortOnDrop<()>>,
}

impl ListWriter {
    /// Starts connecting, with retries; must be called within a runtime.
    ///
    /// # Errors
    /// [`LayerError::Url`].
    pub fn open(settings: &RedisSettings) -> Result<Self, LayerError> {
        let (client, lookup) = connect::client(settings, EVENTS)?;
        let commands = connect::commands(&client, settings);
        let connection = keep_connected(settings, client, lookup, "task queues");
        Ok(Self { commands, _connection: Arc::new(connection) })
    }

    /// Puts a value at the head of a list.
    ///
    /// # Errors
    /// Unless it was refused, the value may be there.
    pub async fn push(&self, list: &str, value: Bytes) -> Result<(), LayerError> {
        self.write("LPUSH", list, value).await
    }

    /// Publishes on a channel.
    ///
    /// # Errors
    /// Unless it was refused, it may have been published.
    pub async fn publish(&self, channel: &str, value: Bytes) -> Result<(), LayerError> {
        self.write("PUBLISH", channel, value).await
    }

    /// The values in all of these lists.
    ///
    /// # Errors
    /// [`LayerError::Unreachable`], or what Redis refuses.
    pub async fn count(&self, lists: &[String]) -> Result<u64, LayerError> {
        let mut count = 0;
        for list in lists {
            let command = CustomCommand::new_static("LLEN", ClusterHash::FirstKey, false);
            let counted = self.commands.custom::<u64, _>(command, vec![list.as_str()]).await;
            count += counted.map_err(|error| layer_error(&error))?;
        }
        Ok(count)
    }

    async fn write(&self, name: &'static str, to: &str, value: Bytes) -> Result<(), LayerError> {
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
        let arguments = vec![Value::from(to), Value::Bytes(value)];
        let written = self.commands.custom::<Value, _>(command, arguments).await;
        written.map(drop).map_err(|error| layer_error(&error))
    }
}
