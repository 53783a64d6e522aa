//! Follows single keys of any Redis whose writers publish each value on the channel of its key, and
//! channels without keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::Server;
use fred::types::{ClusterHash, CustomCommand, Message, Value};
use futures_util::future::join_all;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};
use tokio::time::timeout;

use super::connect::{self, AbortOnDrop, Commands};
use super::kept_connection::keep_connected;
use super::script::layer_error;
use crate::layer::{LayerError, RedisSettings};

/// Messages that may wait. The reader only sorts them; when more wait, all keys are read again.
const MESSAGES: usize = 1024;

/// Wait for a reconnection, of which the next request need not know.
const RECONNECTING: Duration = Duration::from_millis(100);

/// Keys subscribed and read together. Each value read may have [`MAX_VALUE`] bytes.
pub const WATCH_CHUNK: usize = 64;

/// Bytes read of a value. A longer one is cut, so that one key cannot take the process' memory.
pub const MAX_VALUE: usize = 1024 * 1024;

/// Subscribes keys and reads their values. Clones share the connection.
#[derive(Clone)]
pub struct KeyWatch {
    client: Client,
    commands: Commands,
    /// Counts the PINGs.
    pings: Arc<AtomicU64>,
    _connection: Arc<AbortOnDrop<()>>,
}

/// The values written to the keys that are watched.
pub struct WatchedKeys {
    messages: broadcast::Receiver<Message>,
    reconnects: broadcast::Receiver<Server>,
    errors: broadcast::Receiver<(Error, Option<Server>)>,
}

/// The value of a key, if it has one; an error is what Redis says of this key alone.
pub type ReadValue = Result<Option<Bytes>, String>;

/// What happened to the keys that are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// This key was given a value.
    Written(String, Bytes),
    /// Values may have been missed: every key has to be watched anew.
    Interrupted,
}

impl KeyWatch {
    /// Starts connecting, with retries; must be called within a runtime.
    ///
    /// # Errors
    /// [`LayerError::Url`].
    pub fn open(settings: &RedisSettings) -> Result<(Self, WatchedKeys), LayerError> {
        let (client, lookup) = connect::client(settings, MESSAGES)?;
        let keys = WatchedKeys {
            messages: client.message_rx(),
            reconnects: client.reconnect_rx(),
            errors: client.error_rx(),
        };
        let connection = keep_connected(settings, client.clone(), lookup, "watched keys");
        let connection = Arc::new(connection);
        let commands = connect::commands(&client, settings);
        Ok((Self { client, commands, pings: Arc::default(), _connection: connection }, keys))
    }

    /// Subscribes at most [`WATCH_CHUNK`] keys, then reads their values: what is written
    /// afterwards arrives as a [`WatchEvent`]. A value that arrives before the answer is newer
    /// than the one that was read, or the same. A key that cannot be read, since its value is no
    /// string, is watched all the same.
    ///
    /// # Errors
    /// Afterwards some of the keys may be watched.
    pub async fn watch(&self, keys: &[String]) -> Result<Vec<ReadValue>, LayerError> {
        let subscribed = self.commands.subscribe(keys.to_vec()).await;
        subscribed.map_err(|error| layer_error(&error))?;
        // fred answers SUBSCRIBE before Redis does. The values are read over the same connection,
        // so Redis reads them after it has subscribed. A refused SUBSCRIBE has an unexpected reply,
        // which shifts those that follow; the echo shows that.
        self.confirm().await?;
        // Sent together, answered in order.
        let values = join_all(keys.iter().map(|key| self.read(key))).await;
        let one_by_one = |value| match value {
            Err(LayerError::Refused(words)) => Ok(Err(words)),
            value => value.map(Ok),
        };
        values.into_iter().map(one_by_one).collect()
    }

    /// The beginning of a value; `None` = there is none, or it is empty.
    async fn read(&self, key: &str) -> Result<Option<Bytes>, LayerError> {
        let command = CustomCommand::new_static("GETRANGE", ClusterHash::FirstKey, false);
        let arguments: Vec<Value> = vec![key.into(), 0.into(), (MAX_VALUE as i64 - 1).into()];
        let value = self.commands.custom::<Bytes, _>(command, arguments).await;
        let value = value.map_err(|error| layer_error(&error))?;
        Ok((!value.is_empty()).then_some(value))
    }

    /// Subscribes the channels that match a pattern: what is published on them arrives as a
    /// [`WatchEvent`], too.
    ///
    /// # Errors
    /// Afterwards they may be subscribed.
    pub async fn follow(&self, pattern: &str) -> Result<(), LayerError> {
        let subscribed = self.commands.psubscribe(pattern).await;
        subscribed.map_err(|error| layer_error(&error))?;
        self.confirm().await
    }

    /// Ends the subscription of these keys.
    ///
    /// # Errors
    /// The connection was lost, and with it all subscriptions.
    pub async fn forget(&self, keys: Vec<String>) -> Result<(), LayerError> {
        self.commands.unsubscribe(keys).await.map_err(|error| layer_error(&error))
    }

    async fn confirm(&self) -> Result<(), LayerError> {
        let number = self.pings.fetch_add(1, Ordering::Relaxed).to_string();
        let cause = match self.commands.ping::<String>(Some(number.clone())).await {
            Ok(answer) if answer == number => return Ok(()),
            Ok(_) => LayerError::Refused("SUBSCRIBE was not answered as expected".to_owned()),
            Err(error) => layer_error(&error),
        };
        if self.client.is_connected() {
            // A surplus reply would be taken for the next command's. It goes on by itself: a server
            // that hangs would keep the caller from telling so.
            let _ = timeout(RECONNECTING, self.client.force_reconnection()).await;
        }
        Err(cause)
    }
}

impl WatchedKeys {
    /// Waits for the next event.
    pub async fn next(&mut self) -> WatchEvent {
        loop {
            tokio::select! {
                biased;
                event = self.reconnects.recv() => Self::check(&event).await,
                event = self.errors.recv() => Self::check(&event).await,
                event = self.messages.recv() => match event {
                    Ok(message) => match written(&message) {
                        Some(event) => return event,
                        None => continue,
                    },
                    Err(error) => Self::check::<()>(&Err(error)).await,
                },
            }
            return WatchEvent::Interrupted;
        }
    }

    /// The next event that has arrived already.
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        loop {
            match self.messages.try_recv() {
                Ok(message) => match written(&message) {
                    Some(event) => return Some(event),
                    None => continue,
                },
                Err(TryRecvError::Lagged(_)) => return Some(WatchEvent::Interrupted),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }

    /// Waits for ever once the client has ended: nothing follows.
    async fn check<T>(event: &Result<T, RecvError>) {
        if let Err(RecvError::Closed) = event {
            std::future::pending::<()>().await;
        }
    }
}

/// A message as an event; `None` = its channel or value is of no kind that a writer uses.
fn written(message: &Message) -> Option<WatchEvent> {
    let value = match &message.value {
        Value::Bytes(bytes) => bytes.clone(),
        Value::String(text) => text.clone().into_inner(),
        _ => return None,
    };
    // Shortened as a value that is read.
    let value = value.slice(..value.len().min(MAX_VALUE));
    Some(WatchEvent::Written(message.channel.to_string(), value))
}
