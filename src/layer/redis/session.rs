//! A single connection to examine Redis: without reconnection, and with exact errors.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike, TrackingInterface};
use fred::types::{ClusterHash, CustomCommand, Value};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::connect::{self, Commands};
use super::names::Names;
use super::reply::{FromReply, Reply};
use super::script::{self, Script, ScriptError, sort};
use super::sentinels::ask_sentinels;
use super::single_connection::{SingleConnection, connect_once};
use crate::event::InstanceId;
use crate::layer::RedisSettings;
use crate::layer::address::Asking;

/// Events that may wait; only the trial of tracking reads them.
const EVENTS: usize = 256;

/// A connection that only examines Redis.
pub struct RedisSession {
    client: Client,
    commands: Commands,
    names: Names,
    timeout: Duration,
    /// Ended with the session.
    _connection: SingleConnection,
    _asking: Option<Arc<Asking>>,
}

impl RedisSession {
    /// Connects; must be called within a runtime.
    ///
    /// # Errors
    /// [`ScriptError::Refused`] for a password or a server that is not the right one.
    pub async fn open(settings: &RedisSettings) -> Result<Self, ScriptError> {
        let (client, lookup) = connect::client_without_retry(settings, EVENTS)?;
        let asking = ask_sentinels(settings);
        let connection = connect_once(&client, &lookup, settings.timeout).await?;
        Ok(Self {
            commands: connect::commands(&client, settings),
            // Only for names: nothing is sent to it or written under it.
            names: Names::new(&settings.cluster, InstanceId::random(), None, None),
            timeout: settings.timeout,
            _connection: connection,
            _asking: asking,
            client,
        })
    }

    /// The names of the cluster's channels and keys.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// One command.
    pub async fn ask<R: FromReply>(&self, words: &[&str]) -> Result<R, ScriptError> {
        let (command, arguments) =
            command(words.iter().map(|word| word.as_bytes().to_vec().into()));
        script::read(self.commands.custom(command, arguments).await)
    }

    /// Several commands in one pipeline; their replies in order.
    pub async fn ask_all(&self, questions: Vec<Vec<Bytes>>) -> Vec<Result<Reply, ScriptError>> {
        let pipeline = self.client.pipeline();
        for question in questions {
            let (command, arguments) = command(question.into_iter());
            let queued = pipeline.custom::<(), _>(command, arguments).await;
            if let Err(error) = queued {
                return vec![Err(sort(&error))];
            }
        }
        let answers = pipeline.try_all::<Value>().await;
        answers.into_iter().map(script::read).collect()
    }

    /// Runs a script.
    pub async fn run<R: FromReply>(
        &self,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Bytes>,
    ) -> Result<R, ScriptError> {
        script.run(&self.commands, keys, arguments).await
    }

    /// Whether `command`, SUBSCRIBE or UNSUBSCRIBE, is allowed on a channel. It is the last that
    /// the session does.
    ///
    /// fred answers these before Redis does and drops a refusal that comes while nothing is asked,
    /// so they go as any other command with a PING behind. Redis pushes its answer to what it
    /// allows, which is no reply, so the PONG arrives in its place; a refusal is a reply.
    pub async fn try_channel(self, command: &str, channel: &str) -> Result<(), ScriptError> {
        let words = [command, channel];
        let asked = self.ask::<()>(&words);
        let behind = async {
            let _ = self.commands.ping::<Value>(None).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            answer = asked => answer.map(drop),
            () = behind => Ok(()),
        }
    }

    /// Whether Redis notifies this connection when `write`, on another one, changes `key`.
    pub async fn is_notified_of_write(
        &self,
        key: &str,
        write: impl Future<Output = Result<(), ScriptError>>,
    ) -> Result<bool, ScriptError> {
        let mut invalidations = self.client.invalidation_rx();
        let tracking = self.client.start_tracking(key, true, false, false, true).await;
        tracking.map_err(|error| sort(&error))?;
        write.await?;
        let notified = async {
            loop {
                match invalidations.recv().await {
                    Ok(written) if written.keys.iter().any(|k| k.as_str() == Some(key)) => {
                        return true;
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return false,
                }
            }
        };
        Ok(timeout(self.timeout, notified).await.unwrap_or(false))
    }
}

/// A command in fred's form: its name separate from its arguments.
fn command(mut words: impl Iterator<Item = Bytes>) -> (CustomCommand, Vec<Value>) {
    let name = words.next().unwrap_or_default();
    let name = String::from_utf8_lossy(&name).into_owned();
    (CustomCommand::new(name, ClusterHash::FirstKey, false), words.map(Value::Bytes).collect())
}

impl std::fmt::Debug for RedisSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisSession").field("names", &self.names).finish_non_exhaustive()
    }
}
