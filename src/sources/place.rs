//! The server on which the sources of a drainer are: the layer's, or another.

use bytes::Bytes;

use super::command::LookedAt;
use super::remote::RemoteSource;
use super::state::DrainState;
use crate::layer::{FromReply, LayerError, RedisHandle, Script, ScriptError};

/// One server, as far as reading from it goes.
#[derive(Clone, Copy)]
pub(super) struct SourcePlace<'a> {
    pub(super) layer: &'a RedisHandle,
    pub(super) remote: Option<&'a RemoteSource>,
}

impl SourcePlace<'_> {
    /// The server to look at, whose entries are read no earlier than now.
    pub(super) async fn looked_at(&self, state: &mut DrainState) -> Result<LookedAt, ScriptError> {
        let Some(remote) = self.remote else { return Ok(LookedAt::layer(self.layer)) };
        state.read_ms = remote.moment(self.layer).await?;
        let away = || {
            let why =
                remote.redis.failure().unwrap_or_else(|| "losses are not told yet".to_owned());
            LayerError::Unreachable(why)
        };
        let generation = remote.redis.current().ok_or_else(away)?;
        Ok(LookedAt::remote(&remote.redis, self.layer.instance(), generation))
    }

    /// Runs a script on the server of the sources.
    pub(super) async fn ask<R: FromReply>(
        &self,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Bytes>,
    ) -> Result<R, ScriptError> {
        match self.remote {
            Some(remote) => remote.redis.run(script, keys, arguments).await,
            None => self.layer.run(script, keys, arguments).await,
        }
    }

    /// Whether that server notifies of writes.
    pub(super) fn is_tracking(&self) -> bool {
        match self.remote {
            Some(remote) => remote.redis.is_tracking(),
            None => self.layer.is_tracking(),
        }
    }

    /// It may have lost its data.
    pub(super) fn check_generation(&self) {
        match self.remote {
            Some(remote) => remote.redis.check_generation(),
            None => self.layer.check_generation(),
        }
    }
}
