//! Scripts, called by their digest and sent whole only to a Redis that does not know them.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use fred::error::Error;
use fred::interfaces::LuaInterface;
use fred::types::{FromValue, Value};

use super::connect::Commands;
use crate::layer::{LayerError, unreachable};

/// One script.
#[derive(Debug)]
pub struct Script {
    text: String,
    /// What Redis calls it: SHA-1 of its text (EVALSHA).
    name: String,
}

impl Script {
    /// The script whose text these parts are.
    pub fn new(parts: &[&str]) -> Self {
        let text = parts.concat();
        let name = HEXLOWER.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref());
        Self { text, name }
    }

    /// Runs it; whatever goes wrong is that Redis cannot be reached.
    pub(super) async fn run<R: FromValue>(
        &self,
        commands: &Commands,
        keys: Vec<String>,
        arguments: Vec<Bytes>,
    ) -> Result<R, LayerError> {
        self.try_run(commands, keys, arguments).await.map_err(unreachable)
    }

    /// Runs it. A script that is not known has not run, so the second attempt repeats nothing.
    pub(super) async fn try_run<R: FromValue>(
        &self,
        commands: &Commands,
        keys: Vec<String>,
        arguments: Vec<Bytes>,
    ) -> Result<R, Error> {
        let arguments: Vec<_> = arguments.into_iter().map(Value::Bytes).collect();
        let name = self.name.as_str();
        match commands.evalsha(name, keys.clone(), arguments.clone()).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                commands.eval(self.text.as_str(), keys, arguments).await
            }
            outcome => outcome,
        }
    }
}
