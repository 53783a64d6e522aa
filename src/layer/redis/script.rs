//! Scripts, called by their digest, and sent as text only if Redis does not know them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use fred::error::{Error, ErrorKind};
use fred::interfaces::LuaInterface;
use fred::types::{Key, Value};

use super::connect::Commands;
use super::reply::{FromReply, Reply};
use crate::layer::LayerError;
use crate::layer::error::UNKNOWN_COMMAND;

/// Calls by digest before a caller sends the text although another is sending it.
const MAX_CALLS: usize = 3;

/// The text of a script.
#[derive(Debug)]
pub struct Script {
    text: String,
    /// The SHA-1 of the text in hexadecimal, by which EVALSHA finds it.
    digest: String,
    /// Whether a caller is sending the text.
    is_sent: AtomicBool,
}

/// The turn to send the text of a script, until it is answered or given up.
struct SendingTurn<'a>(&'a AtomicBool);

/// The functions of scripts that number publications as the layer does; precedes their own text.
pub const NUMBERING: &str = include_str!("numbering.lua");

/// The functions of scripts that ask whether an instance listens to a group.
pub const LISTENING: &str = include_str!("listening.lua");

/// The functions of scripts that park publications for a group without a listener. Their text must
/// follow [`NUMBERING`].
pub const PARKING: &str = include_str!("parking.lua");

/// Why a script or a command failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// Redis cannot be reached, does not answer or refuses temporarily; a retry may succeed.
    #[error(transparent)]
    Away(LayerError),
    /// Redis refuses: rights, a key of the wrong type, a full memory.
    #[error("redis refuses: {0}")]
    Refused(String),
}

impl Script {
    /// The script whose text is these parts in turn.
    pub fn new(parts: &[&str]) -> Self {
        let text = parts.concat();
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        Self { digest: HEXLOWER.encode(sha1.as_ref()), text, is_sent: AtomicBool::new(false) }
    }

    /// Runs the script. An unknown script has not run, so the next attempt repeats nothing.
    ///
    /// Of the callers that find it unknown only one sends the text: on one connection, what the
    /// others send next comes behind it. Otherwise thousands of waiting calls would each send it
    /// after a `SCRIPT FLUSH`.
    ///
    /// # Errors
    /// After [`ScriptError::Away`] it may have run.
    pub(super) async fn run<R: FromReply>(
        &self,
        commands: &Commands,
        keys: Vec<String>,
        arguments: Vec<Bytes>,
    ) -> Result<R, ScriptError> {
        let keys: Vec<_> = keys.into_iter().map(Key::from).collect();
        let arguments: Vec<_> = arguments.into_iter().map(Value::Bytes).collect();
        for _ in 0..MAX_CALLS {
            let digest = self.digest.as_str();
            let answer = commands.evalsha(digest, keys.clone(), arguments.clone()).await;
            match answer {
                Err(error) if error.details().starts_with("NOSCRIPT") => {}
                answer => return read(answer),
            }
            if let Some(_turn) = self.take_turn() {
                return read(commands.eval(self.text.as_str(), keys, arguments).await);
            }
        }
        read(commands.eval(self.text.as_str(), keys, arguments).await)
    }

    /// Has Redis load the script, if it can be reached and allows it.
    pub(super) async fn load(&self, commands: &Commands) {
        let loaded: Result<Value, _> = commands.script_load(self.text.as_str()).await;
        if let Err(error) = loaded {
            tracing::debug!(%error, "script not loaded; its first call sends it");
        }
    }

    fn take_turn(&self) -> Option<SendingTurn<'_>> {
        let is_taken = self.is_sent.swap(true, Ordering::Relaxed);
        (!is_taken).then(|| SendingTurn(&self.is_sent))
    }
}

impl Drop for SendingTurn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A reply or an error of the client library in the layer's types.
pub(super) fn read<R: FromReply>(answer: Result<Value, Error>) -> Result<R, ScriptError> {
    let reply = Reply::new(answer.map_err(|error| sort(&error))?);
    reply.convert().ok_or_else(|| ScriptError::Refused("the reply has an unknown form".to_owned()))
}

/// Distinguishes an unreachable Redis from one that refuses.
pub(super) fn sort(error: &Error) -> ScriptError {
    match error.kind() {
        _ if is_of_tls(error.details()) => {
            LayerError::Refused(format!("TLS: {}", error.details())).into()
        }
        ErrorKind::IO
        | ErrorKind::Timeout
        | ErrorKind::Canceled
        | ErrorKind::Backpressure
        | ErrorKind::Routing
        | ErrorKind::Protocol => LayerError::Unreachable(error.to_string()).into(),
        _ if is_passing(error.details()) => LayerError::Refused(error.details().to_owned()).into(),
        _ => ScriptError::Refused(error.details().to_owned()),
    }
}

/// An error of the client library as the layer's.
pub(super) fn layer_error(error: &Error) -> LayerError {
    sort(error).into()
}

/// Whether a handshake failed. The client library keeps nothing of such an error but its `Debug`.
fn is_of_tls(details: &str) -> bool {
    ["InvalidCertificate(", "AlertReceived(", "InvalidMessage(", "PeerIncompatible("]
        .iter()
        .any(|kind| details.contains(kind))
}

/// Temporary refusals: Redis is loading its data, or is a replica until it is promoted.
fn is_passing(details: &str) -> bool {
    ["LOADING", "READONLY", "NOREPLICAS", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "TRYAGAIN"]
        .iter()
        .any(|code| details.starts_with(code))
}

/// Whether these are the words of a node of a Redis Cluster, which a single address is not enough
/// for, or of a sentinel, which keeps nothing: waiting does not help.
pub(super) fn is_wrong_server(details: &str) -> bool {
    ["MOVED ", "ASK ", "CROSSSLOT ", UNKNOWN_COMMAND].iter().any(|code| details.starts_with(code))
}

impl From<LayerError> for ScriptError {
    fn from(error: LayerError) -> Self {
        Self::Away(error)
    }
}

impl From<ScriptError> for LayerError {
    fn from(error: ScriptError) -> Self {
        match error {
            ScriptError::Away(error) => error,
            ScriptError::Refused(why) => Self::Refused(why),
        }
    }
}

/// A number as a script's argument.
pub(super) fn number(number: u64) -> Bytes {
    Bytes::from(number.to_string())
}

/// Milliseconds as a script's argument.
pub(super) fn millis(span: Duration) -> Bytes {
    Bytes::from(span.as_millis().to_string())
}
